//! Recovery: thousands of users missed ten events each, come back at once and ask for them.
//! Measured twice: asking on open connections (the server's work for the recovery alone), and
//! connecting and asking together (how long until all are back).
use super::Bench;
use crate::clock::{self, MILLISECOND, SECOND};
use crate::dialect::{Event, First, Position};
use crate::dialects::native::MISSED;
use crate::phase::{Report, Tally};
use crate::swarm::{NOT_RECOVERED, Swarm};

const USERS: usize = 5000;
const PATIENCE: u64 = 30 * SECOND;

/// Where everybody's stream stands.
fn positions(bench: &Bench) -> Vec<Position> {
    let swarm = bench.connected(USERS, &|_| First::Nothing);
    let unknown = || Position { epoch: String::new(), offset: 0 };
    let positions =
        (0..USERS).map(|index| swarm.session(index).position.clone().unwrap_or_else(unknown));
    let positions = positions.collect();
    swarm.close(bench.settle);
    positions
}

/// Ten messages in each pair: an event each in the streams of both, who are then away.
fn miss(bench: &Bench) {
    let writers: Vec<_> = bench.users(USERS).into_iter().step_by(2).collect();
    let mut swarm = Swarm::new(bench.port, bench.dialect.as_ref());
    swarm.open(&writers, &|_| First::Nothing);
    let (mut sent, mut acknowledged) = (0, 0);
    let mut arrivals = Vec::new();
    let begin = clock::now();
    for _ in 0..MISSED {
        for writer in 0..writers.len() {
            swarm.message(writer, &bench.users[2 * writer + 1], clock::now());
            swarm.flush(writer);
            sent += 1;
        }
        while acknowledged < sent && swarm.failures == 0 && clock::now() - begin < PATIENCE {
            swarm.poll(20 * MILLISECOND, &mut arrivals);
            acknowledged +=
                arrivals.iter().filter(|arrival| matches!(arrival.event, Event::Ack(_))).count();
        }
    }
    if acknowledged < sent {
        eprintln!("recovery: only {acknowledged} of {sent} messages: {}", swarm.first_failure);
    }
    swarm.close(bench.settle);
}

/// All are connected; all ask in one go.
pub fn asking(bench: &Bench) {
    let before = positions(bench);
    miss(bench);
    let mut swarm = bench.connected(USERS, &|_| First::Nothing);
    let stands = |index: usize| swarm.session(index).position.as_ref().map(|now| now.offset);
    if (0..USERS).any(|index| stands(index) != Some(before[index].offset + MISSED)) {
        swarm.complain("a stream that did not grow by the missed events");
    }
    let mut tally = Tally::new();
    let begin = bench.probe.read();
    for (index, position) in before.iter().enumerate() {
        swarm.recover(index, position);
        swarm.flush(index);
    }
    let mut arrivals = Vec::new();
    while (tally.done as usize) < USERS && clock::now() - begin.at < PATIENCE {
        swarm.poll(20 * MILLISECOND, &mut arrivals);
        for arrival in &arrivals {
            if let Event::Recovered { complete } = arrival.event {
                tally.add(arrival.at - begin.at);
                if !complete {
                    swarm.complain(NOT_RECOVERED);
                }
            }
        }
    }
    let end = bench.probe.read();
    let mut report = Report::new(&begin, &end, tally.done);
    report.add("p50_ms", tally.latency.quantile(0.5));
    report.add("p99_ms", tally.latency.quantile(0.99));
    bench.print("recovery", &report, &swarm);
    swarm.close(bench.settle);
}

/// Everybody connects and asks as soon as the connection is there.
pub fn returning(bench: &Bench) {
    let before = positions(bench);
    miss(bench);
    let mut swarm = Swarm::new(bench.port, bench.dialect.as_ref());
    let begin = bench.probe.read();
    let opened = swarm.open(&bench.users(USERS), &|index| First::Recover(before[index].clone()));
    let end = bench.probe.read();
    if opened.ready < USERS {
        swarm.complain(&format!("only {} of {USERS} users came back", opened.ready));
    }
    let mut report = Report::new(&begin, &end, opened.ready as u64);
    report.add("all_back_ms", opened.seconds * 1000.0);
    bench.print("recovery-back", &report, &swarm);
    swarm.close(bench.settle);
}

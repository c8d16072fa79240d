//! Messages between two users, acknowledged by the server: even users write, odd ones receive.
use super::{Bench, Schedule};
use crate::clock::{self, MILLISECOND, SECOND};
use crate::dialect::{Event, First};
use crate::phase::{Phase, Tally};
use crate::swarm::{Arrival, Swarm};

const PAIRS: usize = 500;
/// Messages a second of the open loop.
const OPEN_RATE: f64 = 2000.0;
const DRAIN: u64 = 3 * SECOND;
/// Send times kept per pair; more than are ever outstanding.
const REMEMBERED: usize = 1024;

/// Senders, receivers and what is on its way between them.
struct Traffic<'a> {
    swarm: Swarm<'a>,
    tally: Tally,
    /// Latencies from the send to the recipient.
    delivery: Tally,
    sent_at: Vec<u64>,
    expected: Vec<u32>,
    acknowledged: u64,
    disordered: u64,
}

impl<'a> Traffic<'a> {
    fn new(bench: &'a Bench) -> Self {
        Traffic {
            swarm: bench.connected(2 * PAIRS, &|_| First::Nothing),
            tally: Tally::new(),
            delivery: Tally::new(),
            sent_at: vec![0; PAIRS * REMEMBERED],
            expected: vec![0; PAIRS],
            acknowledged: 0,
            disordered: 0,
        }
    }

    fn send(&mut self, pair: usize, at: u64) {
        let recipient = self.swarm.session(2 * pair + 1).user;
        let sequence = self.swarm.message(2 * pair, recipient, at) as usize;
        self.sent_at[pair * REMEMBERED + sequence % REMEMBERED] = at;
    }

    /// Counts one arrival; returns the pair whose message was acknowledged.
    fn count(&mut self, arrival: &Arrival) -> Option<usize> {
        match arrival.event {
            Event::Delivery { sent, bytes } => {
                self.delivery.add(arrival.at.saturating_sub(sent));
                self.tally.size(bytes);
                None
            }
            Event::Ack(sequence) => {
                let pair = arrival.index / 2;
                self.disordered += u64::from(self.expected[pair] != sequence);
                self.expected[pair] = sequence + 1;
                self.acknowledged += 1;
                let sent = self.sent_at[pair * REMEMBERED + sequence as usize % REMEMBERED];
                self.tally.add(arrival.at.saturating_sub(sent));
                Some(pair)
            }
            _ => None,
        }
    }

    fn finish(self, bench: &Bench, scenario: &str, phase: Phase, lost: Option<u64>) {
        let mut report = phase.report(&self.tally);
        report.add("delivery_p50_ms", self.delivery.latency.quantile(0.5));
        report.add("delivery_p99_ms", self.delivery.latency.quantile(0.99));
        report.add("disordered", self.disordered as f64);
        if let Some(lost) = lost {
            report.add("lost", lost as f64);
        }
        bench.print(scenario, &report, &self.swarm);
        let mut swarm = self.swarm;
        swarm.drain(400 * MILLISECOND);
        swarm.close(bench.settle);
    }
}

/// Closed loop with `outstanding` messages on their way in total.
pub fn closed(bench: &Bench, scenario: &str, outstanding: usize) {
    let mut traffic = Traffic::new(bench);
    let mut phase = Phase::new(&bench.probe, bench.seconds);
    for pair in 0..PAIRS {
        for _ in 0..outstanding / PAIRS {
            traffic.send(pair, clock::now());
        }
        traffic.swarm.flush(2 * pair);
    }
    let mut arrivals = Vec::new();
    while traffic.swarm.failures == 0
        && phase.running(&mut traffic.tally)
        && !phase.stalled(&mut traffic.swarm)
    {
        traffic.swarm.poll(20 * MILLISECOND, &mut arrivals);
        for arrival in &arrivals {
            if let Some(pair) = traffic.count(arrival) {
                traffic.send(pair, clock::now());
            }
        }
        // All answers of a tick are answered in one write.
        for arrival in &arrivals {
            traffic.swarm.flush(arrival.index);
        }
    }
    traffic.finish(bench, scenario, phase, None);
}

/// Open loop at a fixed rate; counts what was never acknowledged.
pub fn open(bench: &Bench, scenario: &str) {
    let mut traffic = Traffic::new(bench);
    let mut phase = Phase::new(&bench.probe, bench.seconds);
    let mut schedule = Schedule::new(clock::now(), OPEN_RATE, phase.until());
    let mut arrivals = Vec::new();
    loop {
        let running = phase.running(&mut traffic.tally);
        let missing = schedule.sent > traffic.acknowledged;
        let late = clock::now() > phase.until() + DRAIN;
        if traffic.swarm.failures > 0 || !running && (!missing || late) {
            break;
        }
        while let Some(due) = schedule.take(clock::now()) {
            let pair = (schedule.sent as usize - 1) % PAIRS;
            traffic.send(pair, due);
            traffic.swarm.flush(2 * pair);
        }
        let wait = schedule.next().saturating_sub(clock::now()).clamp(1, 20 * MILLISECOND);
        traffic.swarm.poll(wait, &mut arrivals);
        for arrival in &arrivals {
            traffic.count(arrival);
        }
    }
    let lost = schedule.sent - traffic.acknowledged;
    traffic.finish(bench, scenario, phase, Some(lost));
}

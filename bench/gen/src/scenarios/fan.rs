//! Fan-out: one publisher, one channel, a thousand subscribers. Counted in deliveries.
use super::{Bench, Schedule};
use crate::clock::{self, MILLISECOND, SECOND};
use crate::dialect::{Event, First};
use crate::phase::{Phase, Tally};
use crate::swarm::Swarm;

const SUBSCRIBERS: usize = 1000;
/// The publisher is not a subscriber: a server may answer it by the acknowledgement alone.
const PUBLISHER: usize = SUBSCRIBERS;
/// Characters of a post. With the envelope the event stays below 250 bytes.
const POST_CHARACTERS: usize = 128;
/// Posts a second of the open loop: 100,000 deliveries a second.
const OPEN_RATE: f64 = 100.0;
const DRAIN: u64 = 3 * SECOND;

/// Closed loop: the next post when fewer than `outstanding` are on their way to somebody.
pub fn closed(bench: &Bench, scenario: &str, outstanding: u64) {
    let channel = channel(bench, scenario);
    let mut swarm = subscribed(bench, &channel);
    let mut tally = Tally::new();
    let mut phase = Phase::new(&bench.probe, bench.seconds);
    let (mut sent, mut delivered) = (0, 0);
    let mut arrivals = Vec::new();
    while swarm.failures == 0 && phase.running(&mut tally) && !phase.stalled(&mut swarm) {
        while sent - delivered / (SUBSCRIBERS as u64) < outstanding {
            swarm.post(PUBLISHER, &channel, POST_CHARACTERS, clock::now());
            sent += 1;
        }
        swarm.flush(PUBLISHER);
        swarm.poll(20 * MILLISECOND, &mut arrivals);
        for arrival in &arrivals {
            if let Event::Delivery { sent, bytes } = arrival.event {
                delivered += 1;
                tally.add(arrival.at.saturating_sub(sent));
                tally.size(bytes);
            }
        }
    }
    let report = phase.report(&tally);
    bench.print(scenario, &report, &swarm);
    swarm.drain(500 * MILLISECOND);
    swarm.close(bench.settle);
}

/// Open loop at a fixed rate; counts what got lost.
pub fn open(bench: &Bench, scenario: &str) {
    let channel = channel(bench, scenario);
    let mut swarm = subscribed(bench, &channel);
    let mut tally = Tally::new();
    let mut phase = Phase::new(&bench.probe, bench.seconds);
    let mut schedule = Schedule::new(clock::now(), OPEN_RATE, phase.until());
    let mut delivered = 0;
    let mut arrivals = Vec::new();
    loop {
        let running = phase.running(&mut tally);
        let now = clock::now();
        let missing = schedule.sent * SUBSCRIBERS as u64 > delivered;
        if swarm.failures > 0 || !running && (!missing || now > phase.until() + DRAIN) {
            break;
        }
        while let Some(due) = schedule.take(clock::now()) {
            swarm.post(PUBLISHER, &channel, POST_CHARACTERS, due);
            swarm.flush(PUBLISHER);
        }
        let wait = schedule.next().saturating_sub(clock::now()).clamp(1, 20 * MILLISECOND);
        swarm.poll(wait, &mut arrivals);
        for arrival in &arrivals {
            if let Event::Delivery { sent, bytes } = arrival.event {
                delivered += 1;
                tally.add(arrival.at.saturating_sub(sent));
                tally.size(bytes);
            }
        }
    }
    let mut report = phase.report(&tally);
    report.add("lost", (schedule.sent * SUBSCRIBERS as u64 - delivered) as f64);
    bench.print(scenario, &report, &swarm);
    swarm.close(bench.settle);
}

fn channel(bench: &Bench, scenario: &str) -> String {
    // All names are equally long, and so are the events.
    let letter = scenario.chars().last().unwrap_or('x');
    let kind = if scenario.starts_with("stored") { 's' } else { 'f' };
    format!("bench:{kind}{letter}{:02}", bench.round)
}

fn subscribed<'a>(bench: &'a Bench, channel: &str) -> Swarm<'a> {
    bench.connected(SUBSCRIBERS + 1, &|index| match index {
        PUBLISHER => First::Nothing,
        _ => First::Subscribe(channel.to_string()),
    })
}

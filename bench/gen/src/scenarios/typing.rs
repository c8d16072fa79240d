//! Typing: ephemeral frames from the even to the odd user of many pairs. Nobody acknowledges them,
//! so the loop is closed by their arrival, which the order within a pair allows.
use super::Bench;
use crate::clock::{self, MILLISECOND};
use crate::dialect::{Event, First};
use crate::phase::{Phase, Tally};

const PAIRS: usize = 500;
/// Frames on their way in each pair.
const OUTSTANDING: usize = 4;

pub fn run(bench: &Bench) {
    let mut swarm = bench.connected(2 * PAIRS, &|_| First::Nothing);
    let mut tally = Tally::new();
    let mut phase = Phase::new(&bench.probe, bench.seconds);
    let mut sent_at = vec![[0; OUTSTANDING]; PAIRS];
    let mut received = vec![0; PAIRS];
    let send = |swarm: &mut crate::swarm::Swarm, sent_at: &mut [u64; OUTSTANDING], pair: usize| {
        let partner = swarm.session(2 * pair + 1).user;
        let sequence = swarm.typing(2 * pair, partner) as usize;
        sent_at[sequence % OUTSTANDING] = clock::now();
    };
    for (pair, times) in sent_at.iter_mut().enumerate() {
        for _ in 0..OUTSTANDING {
            send(&mut swarm, times, pair);
        }
        swarm.flush(2 * pair);
    }
    let mut arrivals = Vec::new();
    while swarm.failures == 0 && phase.running(&mut tally) && !phase.stalled(&mut swarm) {
        swarm.poll(20 * MILLISECOND, &mut arrivals);
        for arrival in &arrivals {
            let Event::Typing { bytes } = arrival.event else { continue };
            let pair = arrival.index / 2;
            tally.add(arrival.at.saturating_sub(sent_at[pair][received[pair] % OUTSTANDING]));
            tally.size(bytes);
            received[pair] += 1;
            send(&mut swarm, &mut sent_at[pair], pair);
        }
        for arrival in &arrivals {
            swarm.flush(arrival.index / 2 * 2);
        }
    }
    let report = phase.report(&tally);
    bench.print("typing", &report, &swarm);
    swarm.drain(400 * MILLISECOND);
    swarm.close(bench.settle);
}

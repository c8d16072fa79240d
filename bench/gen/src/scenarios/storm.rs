//! Storm: thousands of connections come at once, 64 in progress at any time. Ready is a connection
//! that is authenticated and has its personal channel.
use super::Bench;
use crate::clock::SECOND;
use crate::dialect::First;
use crate::phase::Report;
use crate::swarm::Swarm;

const CONNECTIONS: usize = 5000;

pub fn run(bench: &Bench) {
    let mut swarm = Swarm::new(bench.port, bench.dialect.as_ref());
    let memory = bench.probe.memory_kib();
    let begin = bench.probe.read();
    let opened = swarm.open(&bench.users(CONNECTIONS), &|_| First::Nothing);
    let end = bench.probe.read();
    swarm.drain(2 * SECOND);
    let grown = bench.probe.memory_kib() - memory;
    if opened.ready < CONNECTIONS {
        swarm.complain(&format!("only {} of {CONNECTIONS} connections came up", opened.ready));
    }
    let mut report = Report::new(&begin, &end, opened.ready as u64);
    report.add("kib_per_connection", grown / CONNECTIONS as f64);
    bench.print("storm", &report, &swarm);
    swarm.close(bench.settle);
}

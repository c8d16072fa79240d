//! One file per scenario. Each opens its own connections, measures, prints a line and closes.
pub mod dm;
pub mod fan;
pub mod http;
pub mod recovery;
pub mod storm;
pub mod typing;

use crate::clock::SECOND;
use crate::dialect::{Dialect, First};
use crate::phase::Report;
use crate::swarm::Swarm;
use crate::usage::Probe;
use crate::users::User;

/// Servers tell users of each other within so long after they have come.
const SETTLING: u64 = SECOND * 3 / 2;

/// What all scenarios need.
pub struct Bench {
    pub peer: String,
    pub port: u16,
    pub dialect: Box<dyn Dialect>,
    pub users: &'static [User],
    pub probe: Probe,
    pub seconds: f64,
    /// Seconds that the server needs until it is done with connections that have gone: absence is
    /// announced late on purpose.
    pub settle: f64,
    /// Part of channel names, so that each round has fresh streams.
    pub round: u32,
}

impl Bench {
    /// The first `count` users.
    fn users(&self, count: usize) -> Vec<&'static User> {
        let available = self.users.len();
        assert!(count <= available, "{count} users wanted, {available} in the file");
        self.users[..count].iter().collect()
    }

    /// A connection for each of the first `count` users, all of them settled; complains if some do
    /// not come up.
    fn connected(&self, count: usize, first: &dyn Fn(usize) -> First) -> Swarm<'_> {
        let mut swarm = Swarm::new(self.port, self.dialect.as_ref());
        let opened = swarm.open(&self.users(count), first);
        if opened.ready < count {
            swarm.complain(&format!("only {} of {count} connections came up", opened.ready));
        }
        swarm.drain(SETTLING);
        swarm
    }

    fn print(&self, scenario: &str, report: &Report, swarm: &Swarm) {
        report.print(&self.peer, scenario, swarm.failures, &swarm.first_failure);
    }
}

/// An open loop: sends are due at fixed times, whatever the server does. Latencies are counted
/// from the due time, so that a server that stalls does not hide it.
struct Schedule {
    begin: u64,
    gap: f64,
    sent: u64,
    until: u64,
}

impl Schedule {
    fn new(begin: u64, rate: f64, until: u64) -> Self {
        Schedule { begin, gap: SECOND as f64 / rate, sent: 0, until }
    }

    fn next(&self) -> u64 {
        self.begin + (self.sent as f64 * self.gap) as u64
    }

    /// The due time of a send that is due by `now`, if there is one.
    fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.next();
        (due <= now && due < self.until).then(|| {
            self.sent += 1;
            due
        })
    }
}

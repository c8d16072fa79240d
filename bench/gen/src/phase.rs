//! The measured part of a run: warm-up, measurement, report.
use crate::clock::{self, SECOND};
use crate::histogram::Histogram;
use crate::swarm::Swarm;
use crate::usage::{Probe, Usage};

/// Each run warms up for so long before anything counts.
const WARM_UP: u64 = SECOND * 7 / 10;
/// A run without any answer for so long is given up.
const PATIENCE: u64 = 4 * SECOND;

/// What a scenario counts while it is measured.
pub struct Tally {
    /// Units done: deliveries, acknowledged messages, typing frames, requests.
    pub done: u64,
    pub latency: Histogram,
    /// Payload bytes of the largest event.
    pub event_bytes: usize,
}

impl Tally {
    pub fn new() -> Self {
        Tally { done: 0, latency: Histogram::new(), event_bytes: 0 }
    }

    /// One more unit, with its latency.
    pub fn add(&mut self, latency_ns: u64) {
        self.done += 1;
        self.latency.add(latency_ns);
    }

    /// Remembers the size of an event.
    pub fn size(&mut self, bytes: usize) {
        self.event_bytes = self.event_bytes.max(bytes);
    }
}

pub struct Phase<'a> {
    probe: &'a Probe,
    warm_until: u64,
    until: u64,
    begin: Option<Usage>,
    end: Option<(Usage, u64)>,
}

impl<'a> Phase<'a> {
    /// A run of warm-up and `seconds`, from now on.
    pub fn new(probe: &'a Probe, seconds: f64) -> Self {
        let warm_until = clock::now() + WARM_UP;
        let until = warm_until + (seconds * SECOND as f64) as u64;
        Phase { probe, warm_until, until, begin: None, end: None }
    }

    /// Whether the run goes on. The end of the warm-up forgets what was counted; the end of the
    /// measurement fixes how much was done.
    pub fn running(&mut self, tally: &mut Tally) -> bool {
        let now = clock::now();
        if self.begin.is_none() && now >= self.warm_until {
            *tally = Tally::new();
            self.begin = Some(self.probe.read());
        }
        if self.end.is_none() && now >= self.until {
            self.end = Some((self.probe.read(), tally.done));
        }
        now < self.until
    }

    /// Whether the server has been silent for too long; says so in the swarm's failures.
    pub fn stalled(&self, swarm: &mut Swarm) -> bool {
        let stalled = clock::now() - swarm.read_at > PATIENCE;
        if stalled {
            swarm.complain("stalled: nothing came for 4 seconds");
        }
        stalled
    }

    /// When the measurement ends.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// The figures of the run. After a stall they are those until now.
    pub fn report(self, tally: &Tally) -> Report {
        let now = || self.probe.read();
        let (end, done) = self.end.unwrap_or_else(|| (now(), tally.done));
        let begin = self.begin.unwrap_or(end);
        let mut report = Report::new(&begin, &end, done);
        report.add("p50_ms", tally.latency.quantile(0.5));
        report.add("p99_ms", tally.latency.quantile(0.99));
        report.add("max_ms", tally.latency.largest());
        if tally.event_bytes > 0 {
            report.add("event_bytes", tally.event_bytes as f64);
        }
        report
    }
}

/// One line of figures.
pub struct Report {
    figures: Vec<(&'static str, f64)>,
}

impl Report {
    /// Rates and processor use between two readings in which `done` units were done.
    pub fn new(begin: &Usage, end: &Usage, done: u64) -> Self {
        let seconds = clock::seconds_between(begin.at, end.at).max(1e-9);
        let server = end.server - begin.server;
        let postgres = (end.postgres - begin.postgres).max(0.0);
        let generator = end.generator - begin.generator;
        let others = end.machine - begin.machine - server - postgres - generator;
        let figures = vec![
            ("seconds", seconds),
            ("rate", done as f64 / seconds),
            ("rate_per_cpu", done as f64 / server.max(1e-9)),
            ("server_cpu", server / seconds),
            ("postgres_cpu", postgres / seconds),
            ("generator_cpu", (generator - end.idle + begin.idle) / seconds),
            ("others_cpu", others / seconds),
        ];
        Report { figures }
    }

    pub fn add(&mut self, name: &'static str, value: f64) {
        self.figures.push((name, value));
    }

    /// Prints the figures and the swarm's failures as one JSON object.
    pub fn print(&self, peer: &str, scenario: &str, failures: u64, first_failure: &str) {
        let figures: Vec<String> =
            self.figures.iter().map(|(name, value)| format!("\"{name}\":{value:.4}")).collect();
        let failure: String = first_failure
            .chars()
            .map(|c| if matches!(c, '"' | '\\') || c.is_control() { '\'' } else { c })
            .collect();
        let figures = figures.join(",");
        print!(r#"{{"peer":"{peer}","scenario":"{scenario}",{figures},"#);
        println!(r#""failures":{failures},"failure":"{failure}"}}"#);
    }
}

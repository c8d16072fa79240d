//! Processor time and memory of the server, of Postgres and of the generator, from /proc.
use crate::{clock, sys};
use std::fs;

/// Whose usage is read.
pub struct Probe {
    pub server: u32,
    /// The postmaster; its children are counted too.
    pub postgres: Option<u32>,
}

/// Seconds of processor time used so far.
#[derive(Clone, Copy)]
pub struct Usage {
    pub at: u64,
    pub server: f64,
    pub postgres: f64,
    pub generator: f64,
    /// The part of the generator's in which it only waited.
    pub idle: f64,
    /// Busy time of all cores, whoever used them.
    pub machine: f64,
}

impl Probe {
    pub fn read(&self) -> Usage {
        Usage {
            at: clock::now(),
            server: process_seconds(self.server),
            postgres: self.postgres.map_or(0.0, family_seconds),
            generator: process_seconds(std::process::id()),
            idle: sys::idle_seconds(),
            machine: machine_seconds(),
        }
    }

    /// Resident memory of the server in KiB.
    pub fn memory_kib(&self) -> f64 {
        let status = text(&format!("/proc/{}/status", self.server));
        let line = status.lines().find(|line| line.starts_with("VmRSS"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0.0)
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// schedstat counts nanoseconds, where stat has ticks of 10 ms.
fn process_seconds(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let nanoseconds: u64 = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|line| line.split(' ').next()?.parse::<u64>().ok())
        .sum();
    nanoseconds as f64 / 1e9
}

/// A process, its living children and those it has already reaped (in ticks).
fn family_seconds(pid: u32) -> f64 {
    let children = text(&format!("/proc/{pid}/task/{pid}/children"));
    let living: f64 =
        children.split_whitespace().filter_map(|c| c.parse().ok()).map(process_seconds).sum();
    let stat = text(&format!("/proc/{pid}/stat"));
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 =
        after_name.split_whitespace().skip(13).take(2).filter_map(|v| v.parse::<f64>().ok()).sum();
    process_seconds(pid) + living + ticks / 100.0
}

fn machine_seconds() -> f64 {
    let stat = text("/proc/stat");
    let all = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> =
        all.split_whitespace().skip(1).filter_map(|value| value.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|&i| ticks.get(i)).sum::<f64>();
    busy / 100.0
}

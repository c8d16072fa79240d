//! The generator's clock.
use std::sync::OnceLock;
use std::time::Instant;

pub const SECOND: u64 = 1_000_000_000;
pub const MILLISECOND: u64 = 1_000_000;

/// Nanoseconds since the first call.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Seconds between two instants of [`now`].
pub fn seconds_between(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / SECOND as f64
}

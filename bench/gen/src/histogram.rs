//! Latencies in buckets of about 1.5 % width.
const STEPS: usize = 64;

pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    largest: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Histogram { buckets: vec![0; 64 * STEPS], count: 0, largest: 0 }
    }

    pub fn add(&mut self, nanoseconds: u64) {
        let value = nanoseconds.max(STEPS as u64);
        let exponent = 63 - value.leading_zeros() as usize;
        let step = (value >> (exponent - 6)) as usize % STEPS;
        self.buckets[exponent * STEPS + step] += 1;
        self.count += 1;
        self.largest = self.largest.max(nanoseconds);
    }

    /// The value in milliseconds below which `share` (0–1) of all lie; 0 when nothing was added.
    pub fn quantile(&self, share: f64) -> f64 {
        let target = ((self.count as f64 * share) as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= target {
                let (exponent, step) = (index / STEPS, (index % STEPS) as u64);
                return ((1u64 << exponent) + (step << (exponent - 6))) as f64 / 1e6;
            }
        }
        0.0
    }

    /// The largest value in milliseconds.
    pub fn largest(&self) -> f64 {
        self.largest as f64 / 1e6
    }
}

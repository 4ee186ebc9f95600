//! Times of many things at once, told by their order.

/// The value that this share of all is not above.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Median, 99th of a hundred, and the worst of each round.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    pub(crate) p50: Vec<f64>,
    pub(crate) p99: Vec<f64>,
    pub(crate) worst: Vec<f64>,
}

impl Latencies {
    /// Adds a round of at least one time.
    pub(crate) fn round(&mut self, mut all: Vec<f64>) {
        all.sort_unstable_by(f64::total_cmp);
        self.p50.push(percentile(&all, 0.5));
        self.p99.push(percentile(&all, 0.99));
        self.worst.push(percentile(&all, 1.0));
    }
}

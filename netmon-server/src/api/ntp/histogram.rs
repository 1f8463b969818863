//! Percentiles from counts in logarithmic buckets, as roll-ups hold them.

use serde::Serialize;
use utoipa::ToSchema;

/// Buckets of a decade.
const PER_DECADE: f64 = 20.0;
/// The first one begins here.
const FIRST_NS: f64 = 10_000.0;
/// The number of the one that holds everything from 10 s on.
const LAST: i64 = 120;

/// How long something took, or how far something was off.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = NtpPercentiles)]
pub struct Percentiles {
    /// Exchanges that have the value.
    count: i64,
    /// Half of them are below; percentiles are right to within 6 per cent, and stand at 10 us and 10 s
    /// beyond these.
    p50_ns: Option<i64>,
    p95_ns: Option<i64>,
    p99_ns: Option<i64>,
}

/// Counts by bucket.
#[derive(Debug, Default)]
pub struct Histogram(Vec<(i64, i64)>);

impl Histogram {
    /// Counts a bucket; they come in ascending order.
    pub fn add(&mut self, bucket: i64, count: i64) {
        self.0.push((bucket, count));
    }

    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            count: self.count(),
            p50_ns: self.quantile(0.50),
            p95_ns: self.quantile(0.95),
            p99_ns: self.quantile(0.99),
        }
    }

    fn count(&self) -> i64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The value below which a share of all lies, placed within its bucket by the logarithm.
    fn quantile(&self, share: f64) -> Option<i64> {
        let wanted = share * self.count() as f64;
        let mut below = 0.0;
        let last = self.0.len().checked_sub(1)?;
        for (index, (bucket, count)) in self.0.iter().enumerate() {
            let count = *count as f64;
            if below + count < wanted && index < last {
                below += count;
                continue;
            }
            let within = ((wanted - below) / count.max(1.0)).clamp(0.0, 1.0);
            let place = match bucket {
                ..0 => 0.0,
                &(LAST..) => LAST as f64,
                bucket => *bucket as f64 + within,
            };
            let ns = FIRST_NS * 10_f64.powf(place / PER_DECADE);
            return Some(ns.round() as i64);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bucket of a value, as the roll-up chooses it.
    fn bucket(ns: i64) -> i64 {
        let bucket = (PER_DECADE * (ns.max(1) as f64 / FIRST_NS).log10()).floor();
        (bucket as i64).clamp(-1, LAST)
    }

    fn histogram(values: &[i64]) -> Histogram {
        let mut buckets: Vec<_> = values.iter().map(|ns| bucket(*ns)).collect();
        buckets.sort_unstable();
        let mut histogram = Histogram::default();
        for alike in buckets.chunk_by(|a, b| a == b) {
            histogram.add(alike[0], alike.len() as i64);
        }
        histogram
    }

    #[test]
    fn percentiles_are_right_to_within_a_bucket() {
        let values: Vec<i64> = (1..=10_000).map(|n| n * n * 50).collect();
        let found = histogram(&values).percentiles();
        for (share, ns) in [(50, found.p50_ns), (95, found.p95_ns), (99, found.p99_ns)] {
            let exact = values[values.len() * share / 100] as f64;
            let error = (ns.unwrap() as f64 / exact - 1.0).abs();
            assert!(error < 0.06, "p{share}: {ns:?} instead of {exact}");
        }
    }

    #[test]
    fn values_beyond_the_ends_stand_at_the_ends() {
        assert_eq!(histogram(&[5]).percentiles().p50_ns, Some(10_000));
        let long = histogram(&[60_000_000_000]).percentiles();
        assert_eq!(long.p99_ns, Some(10_000_000_000));
    }

    #[test]
    fn nothing_has_no_percentiles() {
        let nothing = Histogram::default().percentiles();
        assert_eq!((nothing.count, nothing.p50_ns), (0, None));
    }
}

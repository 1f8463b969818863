//! The last eight good samples (RFC 5905 section 10): the least delayed one tells most.

/// How many are kept.
const STAGES: usize = 8;

/// Offset and network delay of one exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Server's clock minus sensor's.
    pub offset_ns: i64,
    /// There and back, without the server.
    pub delay_ns: i64,
}

/// The samples, the newest first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter {
    samples: [Sample; STAGES],
    count: usize,
}

/// How offsets lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) median_ns: i64,
    /// 95 of 100 are as near to the median.
    pub(super) p95_deviation_ns: u64,
}

impl Filter {
    pub(super) fn push(&mut self, sample: Sample) {
        self.samples.rotate_right(1);
        self.samples[0] = sample;
        self.count = STAGES.min(self.count + 1);
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn samples(&self) -> &[Sample] {
        self.samples.get(..self.count).unwrap_or(&self.samples)
    }

    /// The one with the least delay; of equal ones the newest.
    pub(super) fn best(&self) -> Option<Sample> {
        self.samples()
            .iter()
            .min_by_key(|sample| sample.delay_ns)
            .copied()
    }

    /// `None` without samples.
    pub(super) fn spread(&self) -> Option<Spread> {
        let mut offsets: Vec<i64> = self.samples().iter().map(|s| s.offset_ns).collect();
        offsets.sort_unstable();
        let median_ns = *offsets.get(offsets.len() / 2)?;
        let mut deviations: Vec<u64> = offsets.iter().map(|o| o.abs_diff(median_ns)).collect();
        deviations.sort_unstable();
        let p95 = (deviations.len() * 95).div_ceil(100) - 1;
        Some(Spread {
            median_ns,
            p95_deviation_ns: *deviations.get(p95)?,
        })
    }

    /// Root mean square of the differences between successive offsets; `None` before there are two.
    pub(super) fn jitter_ns(&self) -> Option<u64> {
        let samples = self.samples();
        let pairs = samples.len().checked_sub(1).filter(|pairs| *pairs > 0)?;
        let squares = samples.windows(2).map(|pair| match pair {
            [newer, older] => u128::from(newer.offset_ns.abs_diff(older.offset_ns)).pow(2),
            _ => 0,
        });
        let mean = squares.fold(0_u128, u128::saturating_add) / pairs as u128;
        u64::try_from(mean.isqrt()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(samples: &[(i64, i64)]) -> Filter {
        let mut filter = Filter::default();
        for (offset_ns, delay_ns) in samples {
            filter.push(Sample {
                offset_ns: *offset_ns,
                delay_ns: *delay_ns,
            });
        }
        filter
    }

    #[test]
    fn the_least_delayed_of_the_last_eight_is_believed() {
        let mut samples = vec![(1, 5)];
        samples.extend([(100, 50); 6]);
        samples.push((7, 20));
        assert_eq!(filter(&samples).best().unwrap().offset_ns, 1);
        samples.push((100, 50));
        assert_eq!(filter(&samples).best().unwrap().offset_ns, 7, "the ninth");
    }

    #[test]
    fn spread_and_jitter_are_those_of_the_offsets() {
        let empty = Filter::default();
        assert_eq!(
            (empty.best(), empty.spread(), empty.jitter_ns()),
            (None, None, None)
        );
        let filter = filter(&[(0, 1), (3, 1), (-1, 1)]);
        let spread = filter.spread().unwrap();
        assert_eq!((spread.median_ns, spread.p95_deviation_ns), (0, 3));
        assert_eq!(filter.jitter_ns(), Some(3), "sqrt((9 + 16) / 2)");
    }

    #[test]
    fn no_difference_is_too_large() {
        let filter = filter(&[(i64::MIN, 1), (i64::MAX, 1), (i64::MIN, 1)]);
        assert!(filter.jitter_ns() > Some(1 << 63));
    }
}

//! How often a client asks.

/// A new interval counts for this part.
const PART: i64 = 8;

/// The smoothed time between requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interval {
    last_at_ns: Option<u64>,
    smoothed_ns: Option<u64>,
}

impl Interval {
    /// A request came.
    pub(super) fn asked(&mut self, at_ns: u64) {
        if let Some(last_at_ns) = self.last_at_ns {
            let interval_ns = at_ns.saturating_sub(last_at_ns);
            self.smoothed_ns = Some(match self.smoothed_ns {
                None => interval_ns,
                Some(smoothed_ns) => {
                    let step = (interval_ns as i64 - smoothed_ns as i64) / PART;
                    smoothed_ns.saturating_add_signed(step)
                }
            });
        }
        self.last_at_ns = Some(at_ns);
    }

    /// 0 = not known yet.
    pub(super) fn ns(&self) -> u64 {
        self.smoothed_ns.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_a_new_interval_slowly() {
        let mut interval = Interval::default();
        interval.asked(0);
        assert_eq!(interval.ns(), 0);
        interval.asked(64_000);
        assert_eq!(interval.ns(), 64_000);
        interval.asked(64_000 + 128_000);
        assert_eq!(interval.ns(), 72_000);
    }
}

//! What exchanges come to: the counted values that a server's roll-ups hold, and sums beside them.

use netmon_common::{
    ntp::Mode,
    wire::{MAX_FOLD_EXCHANGES, MAX_FOLD_VALUES, NtpMatch},
};

use super::entry::first_packet_unix_ns;
use crate::ntp::{Finding, Gate, Match};

/// Most values that one exchange adds.
const VALUES_OF_ONE: usize = 9;

/// Buckets of a decade.
const PER_DECADE: f64 = 20.0;
/// The first one begins here.
const FIRST_NS: f64 = 10_000.0;
/// The number of the one that holds everything from 10 s on.
const LAST: i64 = 120;

/// What a counted value is; the numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// The match, by its number in the protocol.
    Match = 1,
    /// From here to the kiss code of responses.
    Stratum = 2,
    /// The leap indicator.
    Leap = 3,
    /// The version.
    Version = 4,
    /// The reference id, unless it is a kiss code.
    ReferenceId = 5,
    /// The kiss code, as a reference id.
    KissCode = 6,
    /// From here on buckets; response times of exchanges that were answered in time …
    ResponseTime = 7,
    /// … the server's processing of those that belong in statistics …
    Processing = 8,
    /// … and how far its clock is off.
    AbsoluteOffset = 9,
}

/// So many exchanges had a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What the value is.
    pub metric: Metric,
    /// The value.
    pub value: i64,
    /// How many.
    pub count: u32,
}

/// Least, most and sum of durations, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Least and most, if there was any.
    pub ends: Option<(i64, i64)>,
    /// Of the absolute values.
    pub absolute_sum: i64,
}

/// Everything of a fold that adds up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many exchanges.
    pub exchanges: u32,
    /// Of these, with a response.
    pub answered: u32,
    /// Of these, with a kiss code that can be printed.
    pub kisses: u32,
    /// The newest such code, and when it came, ns since 1970.
    pub kiss: Option<([u8; 4], i64)>,
    /// When the first packet of the first one was seen, ns since 1970.
    pub first_unix_ns: i64,
    /// Of those answered in time.
    pub response_time: Extent,
    /// From here on of those that belong in statistics.
    pub processing: Extent,
    /// The server's clock minus the sensor's.
    pub offset: Extent,
    /// In the order of metrics and values.
    values: Vec<Counted>,
}

impl Extent {
    fn add(&mut self, ns: i64) {
        let (least, most) = self.ends.unwrap_or((ns, ns));
        self.ends = Some((least.min(ns), most.max(ns)));
        let distance = i64::try_from(ns.unsigned_abs()).unwrap_or(i64::MAX);
        self.absolute_sum = self.absolute_sum.saturating_add(distance);
    }
}

impl Figures {
    /// Counts an exchange.
    pub(super) fn add(&mut self, finding: &Finding) {
        let (exchange, measured) = (&finding.exchange, &finding.measured);
        let at_ns = first_packet_unix_ns(exchange);
        self.first_unix_ns = match self.exchanges {
            0 => at_ns,
            _ => self.first_unix_ns.min(at_ns),
        };
        self.exchanges += 1;
        self.count(Metric::Match, NtpMatch::from(exchange.kind) as i64);
        let Some(response) = &exchange.response else {
            return;
        };
        self.answered += 1;
        let header = &response.content.header;
        self.count(Metric::Stratum, header.stratum.into());
        self.count(Metric::Leap, header.leap.into());
        self.count(Metric::Version, header.version.into());
        let is_kiss =
            header.stratum == 0 && header.mode == Mode::Server && header.reference_id != 0;
        let metric = match is_kiss {
            true => Metric::KissCode,
            false => Metric::ReferenceId,
        };
        self.count(metric, header.reference_id.into());
        if let Some(code) = header.kiss_code() {
            self.kisses += 1;
            let came_ns = response.captured_at_unix_ns;
            if self.kiss.is_none_or(|(_, before_ns)| came_ns >= before_ns) {
                self.kiss = Some((code, came_ns));
            }
        }
        let in_time = matches!(
            exchange.kind,
            Match::Basic | Match::Interleaved | Match::Weak
        );
        if !in_time || header.stratum == 0 {
            return;
        }
        self.time(Metric::ResponseTime, measured.response_time_ns);
        if measured.gate == Some(Gate::Good) {
            self.time(Metric::Processing, measured.server_processing_ns);
            self.time(Metric::AbsoluteOffset, measured.offset_ns);
        }
    }

    /// Whether another exchange may find no room.
    pub(super) fn is_full(&self) -> bool {
        self.exchanges >= MAX_FOLD_EXCHANGES || self.values.len() + VALUES_OF_ONE > MAX_FOLD_VALUES
    }

    /// How many exchanges had which value.
    pub fn values(&self) -> &[Counted] {
        &self.values
    }

    fn time(&mut self, metric: Metric, ns: Option<i64>) {
        let Some(ns) = ns else { return };
        self.count(metric, bucket(ns));
        let extent = match metric {
            Metric::ResponseTime => &mut self.response_time,
            Metric::Processing => &mut self.processing,
            _ => &mut self.offset,
        };
        extent.add(ns);
    }

    fn count(&mut self, metric: Metric, value: i64) {
        let place = (metric, value);
        let found = self
            .values
            .binary_search_by_key(&place, |c| (c.metric, c.value));
        match found {
            Ok(at) => self.values[at].count += 1,
            Err(at) => {
                let counted = Counted {
                    metric,
                    value,
                    count: 1,
                };
                if self.values.len() == self.values.capacity() {
                    // By few: most folds have a dozen, and there are many folds.
                    self.values.reserve_exact(4);
                }
                self.values.insert(at, counted);
            }
        }
    }
}

/// The bucket of a duration or an offset, as the server's roll-ups number them.
pub(super) fn bucket(ns: i64) -> i64 {
    let distance = (ns.unsigned_abs() as f64).max(1.0);
    let bucket = (PER_DECADE * (distance / FIRST_NS).log10()).floor();
    // Of 19 digits at most.
    (bucket as i64).clamp(-1, LAST)
}

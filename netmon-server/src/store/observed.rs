//! What metrics count of stored NTP exchanges.

use std::net::IpAddr;

use netmon_common::wire::{NtpControl, NtpFlag, NtpMatch, NtpPacket};

use super::{
    exchanges::{Checked, match_name},
    folds::{ABSOLUTE_OFFSET, CheckedFold, KISS_CODE, MATCH, PROCESSING, RESPONSE_TIME},
    sightings::Kiss,
};

/// One exchange, or one question of mode 6 or 7.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// Of the response; of the request if there is none.
    pub mode: u32,
    /// The name of its match; `control` and `private` for modes 6 and 7.
    pub matched: &'static str,
    /// Who asked, and who was asked: not of packets that anybody can send.
    pub pair: Option<(IpAddr, IpAddr)>,
    /// Of a kiss-o'-death.
    pub kiss: Option<Kiss>,
    /// What the server says of itself.
    pub stratum: Option<u32>,
    /// From here on only of exchanges that count in statistics.
    pub response_time_ns: Option<i64>,
    /// From receive to transmit timestamp.
    pub server_processing_ns: Option<i64>,
    /// The server's clock minus the sensor's.
    pub offset_ns: Option<i64>,
}

impl Observed {
    pub(super) fn exchange(checked: &Checked<'_>, asked: bool) -> Self {
        let exchange = checked.exchange;
        let packet = exchange.response.or(exchange.request);
        let response = exchange.response.as_ref();
        let matched = match_name(checked.matched);
        let in_time = matches!(matched, "basic" | "interleaved" | "weak");
        // Agents from before vantages and flags left out values that do not count.
        let judged = checked.vantage.is_none() && exchange.flags == 0;
        let good = judged || exchange.flags & NtpFlag::Good as u32 != 0;
        let kiss = response.and_then(Kiss::of);
        let counts = in_time && response.is_some_and(|packet| packet.stratum != 0);
        Self {
            mode: packet.map_or(0, |packet| packet.mode),
            matched,
            pair: asked.then_some((checked.client, checked.server)),
            kiss,
            stratum: response.map(|packet| packet.stratum),
            response_time_ns: exchange.response_time_ns.filter(|_| counts),
            server_processing_ns: exchange.server_processing_ns.filter(|_| counts && good),
            offset_ns: exchange.offset_ns.filter(|_| counts && good),
        }
    }

    pub(super) fn control(control: &NtpControl) -> Self {
        Self {
            mode: control.mode,
            matched: if control.mode == 6 {
                "control"
            } else {
                "private"
            },
            pair: None,
            kiss: None,
            stratum: None,
            response_time_ns: None,
            server_processing_ns: None,
            offset_ns: None,
        }
    }
}

/// Exchanges that the agent counted together.
#[derive(Clone, Debug)]
pub struct ObservedFold {
    /// By mode and name of the match.
    pub counts: Vec<(u32, &'static str, u64)>,
    /// Who asked, and who was asked: not of packets that anybody can send.
    pub pair: Option<(IpAddr, IpAddr)>,
    /// Kisses-o'-death.
    pub kisses: Vec<(Kiss, u64)>,
    /// What the server says of itself in the newest response.
    pub stratum: Option<u32>,
    /// Of the newest response, if it counts in statistics.
    pub offset_ns: Option<i64>,
    /// Of those answered in time.
    pub response_time: Spread,
    /// From here on of those that count in statistics.
    pub server_processing: Spread,
    /// Whatever its sign.
    pub offset: Spread,
}

/// How durations are spread over the buckets of roll-ups.
#[derive(Clone, Debug)]
pub struct Spread {
    /// Bucket and count.
    pub buckets: Vec<(i64, u64)>,
    /// Of all of them.
    pub sum_ns: i64,
}

impl ObservedFold {
    pub(super) fn new(checked: &CheckedFold<'_>, is_asked: bool) -> Self {
        let answered = checked.answered.as_ref().unwrap_or(&checked.newest);
        let shown = Observed::exchange(answered, is_asked);
        let newest = Observed::exchange(&checked.newest, is_asked);
        let counts = checked.of(MATCH).map(|(number, count)| {
            let number = i32::try_from(number).unwrap_or(0);
            let matched = NtpMatch::try_from(number).unwrap_or(NtpMatch::Unspecified);
            let mode = match matched {
                NtpMatch::Unanswered | NtpMatch::SensorStopped | NtpMatch::Refused => {
                    asked_mode(&[&checked.newest, answered])
                }
                _ => shown.mode,
            };
            (mode, match_name(matched), u64::from(count.unsigned_abs()))
        });
        let kisses = checked.of(KISS_CODE).filter_map(|(id, count)| {
            let packet = NtpPacket {
                mode: 4,
                reference_id: u32::try_from(id).ok()?,
                ..NtpPacket::default()
            };
            Some((Kiss::of(&packet)?, u64::from(count.unsigned_abs())))
        });
        let spread = |metric, sum_ns| Spread {
            buckets: checked
                .of(metric)
                .map(|(bucket, count)| (bucket, u64::from(count.unsigned_abs())))
                .collect(),
            sum_ns,
        };
        let fold = checked.fold;
        Self {
            counts: counts.collect(),
            pair: newest.pair,
            kisses: kisses.collect(),
            stratum: shown.stratum,
            offset_ns: shown.offset_ns,
            response_time: spread(RESPONSE_TIME, fold.response_time_sum_ns),
            server_processing: spread(PROCESSING, fold.server_processing_sum_ns),
            offset: spread(ABSOLUTE_OFFSET, checked.absolute_offset_sum_ns),
        }
    }

    /// How many there are.
    pub fn exchanges(&self) -> u64 {
        self.counts.iter().map(|(_, _, count)| count).sum()
    }
}

/// Of requests without a response.
fn asked_mode(shown: &[&Checked<'_>]) -> u32 {
    let requests = shown.iter().filter_map(|checked| checked.exchange.request);
    requests.map(|request| request.mode).next().unwrap_or(0)
}

//! What metrics count of stored NTP exchanges.

use std::net::IpAddr;

use netmon_common::wire::{NtpControl, NtpFlag};

use super::{
    exchanges::{Checked, match_name},
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

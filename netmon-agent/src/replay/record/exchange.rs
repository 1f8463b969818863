//! `exchange`: a finding of the pairing.

use std::net::IpAddr;

use serde::Serialize;

use crate::ntp::{Exchange, Match, measure};

/// A request, a response, or both; what is not known is null.
#[derive(Serialize)]
pub(in crate::replay) struct ExchangeRecord {
    #[serde(rename = "match")]
    pub(in crate::replay) kind: &'static str,
    pub(in crate::replay) request_frame: Option<u64>,
    pub(in crate::replay) response_frame: Option<u64>,
    requested_at_ns: Option<i64>,
    answered_at_ns: Option<i64>,
    pub(in crate::replay) client: IpAddr,
    pub(in crate::replay) client_port: u16,
    pub(in crate::replay) server: IpAddr,
    pub(in crate::replay) server_port: u16,
    version: Option<u8>,
    mode: Option<u8>,
    leap: Option<u8>,
    stratum: Option<u8>,
    poll: Option<i8>,
    precision: Option<i8>,
    reference_id: Option<String>,
    pub(in crate::replay) response_time_ns: Option<i64>,
    server_processing_ns: Option<i64>,
    network_delay_ns: Option<i64>,
    pub(in crate::replay) offset_ns: Option<i64>,
    offset_error_ns: Option<i64>,
    client_offset_ns: Option<i64>,
    client_delay_ns: Option<i64>,
    null_reason: Option<&'static str>,
    kiss_code: Option<String>,
    nts: Option<bool>,
    vantage: Option<&'static str>,
}

impl From<&Exchange> for ExchangeRecord {
    fn from(exchange: &Exchange) -> Self {
        let (request, response) = (exchange.request.as_ref(), exchange.response.as_ref());
        let header = response.or(request).map(|packet| packet.header);
        // A capture's clock is taken as it is.
        let measured = measure(exchange, true);
        let kiss_code = response.and_then(|packet| packet.header.kiss_code());
        Self {
            kind: name(exchange.kind),
            request_frame: request.map(|packet| packet.frame),
            response_frame: response.map(|packet| packet.frame),
            requested_at_ns: request.map(|packet| packet.captured_at_unix_ns),
            answered_at_ns: response.map(|packet| packet.captured_at_unix_ns),
            client: exchange.client.ip(),
            client_port: exchange.client.port(),
            server: exchange.server.ip(),
            server_port: exchange.server.port(),
            version: header.map(|header| header.version),
            mode: header.map(|header| header.mode as u8),
            leap: header.map(|header| header.leap),
            stratum: header.map(|header| header.stratum),
            poll: header.map(|header| header.poll),
            precision: header.map(|header| header.precision),
            reference_id: header.map(|header| format!("{:08x}", header.reference_id)),
            response_time_ns: measured.response_time_ns,
            server_processing_ns: measured.server_processing_ns,
            network_delay_ns: measured.network_delay_ns,
            offset_ns: measured.offset_ns,
            // Wherever the path is asymmetric, at most by all of it.
            offset_error_ns: measured
                .offset_ns
                .and(measured.network_delay_ns)
                .map(|delay| delay / 2),
            client_offset_ns: None,
            client_delay_ns: None,
            null_reason: measured.offset_ns.is_none().then_some(measured.null_reason),
            kiss_code: kiss_code.map(|code| {
                let letters = code.iter().take_while(|octet| **octet != 0);
                letters.map(|octet| char::from(*octet)).collect()
            }),
            nts: request.or(response).map(|packet| packet.nts),
            vantage: None,
        }
    }
}

/// A capture that ends before the answer has none: whoever reads it cannot wait.
fn name(kind: Match) -> &'static str {
    match kind {
        Match::SensorStopped => Match::Unanswered.name(),
        kind => kind.name(),
    }
}

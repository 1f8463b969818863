//! `exchange`: a finding of the pairing.

use std::net::IpAddr;

use serde::Serialize;

use crate::ntp::{Dialogue, Finding, Found, Match, Vantage};

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
    offset_error_ns: Option<u64>,
    client_offset_ns: Option<i64>,
    client_delay_ns: Option<i64>,
    null_reason: Option<&'static str>,
    kiss_code: Option<String>,
    nts: Option<bool>,
    vantage: Option<&'static str>,
}

impl From<&Found> for ExchangeRecord {
    fn from(found: &Found) -> Self {
        match found {
            Found::Exchange(finding) => Self::of_finding(finding),
            Found::Dialogue(dialogue) => Self::of_dialogue(dialogue),
        }
    }
}

impl ExchangeRecord {
    fn of_finding(finding: &Finding) -> Self {
        let (exchange, measured) = (&finding.exchange, &finding.measured);
        let (request, response) = (exchange.request.as_ref(), exchange.response.as_ref());
        let header = response.or(request).map(|packet| packet.content.header);
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
            offset_error_ns: measured.offset_error_ns,
            client_offset_ns: measured.client_offset_ns,
            client_delay_ns: measured.client_delay_ns,
            null_reason: measured.offset_ns.is_none().then_some(measured.null_reason),
            kiss_code: exchange.kiss_code(),
            nts: Some(exchange.is_nts()),
            vantage: measured.vantage.map(Vantage::name),
        }
    }

    /// Where the capture has no clock: what belongs together is known, and when it was is not.
    pub(in crate::replay) fn without_times(self) -> Self {
        Self {
            requested_at_ns: None,
            answered_at_ns: None,
            response_time_ns: None,
            server_processing_ns: None,
            network_delay_ns: None,
            offset_ns: None,
            offset_error_ns: None,
            client_offset_ns: None,
            client_delay_ns: None,
            null_reason: Some("no_time"),
            ..self
        }
    }

    fn of_dialogue(dialogue: &Dialogue) -> Self {
        let (request, response) = (dialogue.request.as_ref(), dialogue.response.as_ref());
        let any = response.or(request);
        let kind = match dialogue.subject.mode() {
            6 => "control",
            _ => "private",
        };
        Self {
            kind,
            request_frame: request.map(|packet| packet.frame),
            response_frame: response.map(|packet| packet.frame),
            requested_at_ns: request.map(|packet| packet.captured_at_unix_ns),
            answered_at_ns: response.map(|packet| packet.captured_at_unix_ns),
            client: dialogue.client.ip(),
            client_port: dialogue.client.port(),
            server: dialogue.server.ip(),
            server_port: dialogue.server.port(),
            version: any.map(|packet| packet.content.version),
            mode: Some(dialogue.subject.mode()),
            leap: None,
            stratum: None,
            poll: None,
            precision: None,
            reference_id: None,
            response_time_ns: dialogue.response_time_ns(),
            server_processing_ns: None,
            network_delay_ns: None,
            offset_ns: None,
            offset_error_ns: None,
            client_offset_ns: None,
            client_delay_ns: None,
            null_reason: Some(kind),
            kiss_code: None,
            nts: None,
            vantage: dialogue.vantage.map(Vantage::name),
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

//! What the pairing makes of packets.

use std::net::{IpAddr, SocketAddr};

use netmon_common::wire::{NtpExchange, NtpMatch};

use super::{Packet, Scope, measure};

/// How a request and a response belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// The response's origin timestamp is the request's transmit timestamp.
    Basic,
    /// No response within the time-out.
    Unanswered,
    /// No response yet when the sensor was stopped.
    SensorStopped,
    /// The response came after the time-out; its request was reported unanswered.
    Late,
    /// The client had asked again before the answer came, and no longer waits for it.
    Superseded,
    /// A second, identical response.
    DuplicateResponse,
    /// A second response to the same request with other fields.
    ConflictingResponse,
    /// A response on a known path whose origin timestamp fits no request.
    OriginMismatch,
    /// A response without any request.
    UnsolicitedResponse,
}

impl Match {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Basic,
        Self::Unanswered,
        Self::SensorStopped,
        Self::Late,
        Self::Superseded,
        Self::DuplicateResponse,
        Self::ConflictingResponse,
        Self::OriginMismatch,
        Self::UnsolicitedResponse,
    ];

    /// The name used in metrics and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Unanswered => "unanswered",
            Self::SensorStopped => "sensor_stopped",
            Self::Late => "late",
            Self::Superseded => "superseded",
            Self::DuplicateResponse => "duplicate_response",
            Self::ConflictingResponse => "conflicting_response",
            Self::OriginMismatch => "origin_mismatch",
            Self::UnsolicitedResponse => "unsolicited_response",
        }
    }

    const fn message(self) -> NtpMatch {
        match self {
            Self::Basic => NtpMatch::Basic,
            Self::Unanswered => NtpMatch::Unanswered,
            Self::SensorStopped => NtpMatch::SensorStopped,
            Self::Late => NtpMatch::Late,
            Self::Superseded => NtpMatch::Superseded,
            Self::DuplicateResponse => NtpMatch::DuplicateResponse,
            Self::ConflictingResponse => NtpMatch::ConflictingResponse,
            Self::OriginMismatch => NtpMatch::OriginMismatch,
            Self::UnsolicitedResponse => NtpMatch::UnsolicitedResponse,
        }
    }
}

/// One finding of the pairing: a request, a response, or both.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// How they belong together.
    pub kind: Match,
    /// Where they were seen.
    pub scope: Scope,
    /// Who asked.
    pub client: SocketAddr,
    /// Who answered, or should have.
    pub server: SocketAddr,
    /// Absent for responses that fit none.
    pub request: Option<Packet>,
    /// Absent for requests without an answer.
    pub response: Option<Packet>,
}

impl Exchange {
    /// The exchange as the server stores it. `interface` is the name of `scope.ifindex`;
    /// `synchronised` says whether the sensor's wall clock can be trusted.
    pub fn message(&self, interface: &str, synchronised: bool) -> NtpExchange {
        let measured = measure(self, synchronised);
        NtpExchange {
            interface: interface.to_owned(),
            ifindex: self.scope.ifindex,
            vlan: self.scope.vlans[0].into(),
            inner_vlan: self.scope.vlans[1].into(),
            r#match: self.kind.message().into(),
            client: octets(self.client.ip()),
            client_port: self.client.port().into(),
            server: octets(self.server.ip()),
            server_port: self.server.port().into(),
            requested_at_unix_ns: self.request.as_ref().map_or(0, |p| p.captured_at_unix_ns),
            answered_at_unix_ns: self.response.as_ref().map_or(0, |p| p.captured_at_unix_ns),
            request: self.request.as_ref().map(Packet::message),
            response: self.response.as_ref().map(Packet::message),
            response_time_ns: measured.response_time_ns,
            server_processing_ns: measured.server_processing_ns,
            network_delay_ns: measured.network_delay_ns,
            offset_ns: measured.offset_ns,
            client_to_server_ns: measured.client_to_server_ns,
            null_reason: measured.null_reason.to_owned(),
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

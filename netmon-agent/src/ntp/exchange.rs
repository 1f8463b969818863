//! What the pairing makes of packets.

use std::net::SocketAddr;

use super::{Packet, Refusal, Scope, Time};

/// How a request and a response belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// The response's origin timestamp is the request's transmit timestamp.
    Basic,
    /// It is the request's receive timestamp (RFC 9769): interleaved mode.
    Interleaved,
    /// Both are zero: paired by order alone.
    Weak,
    /// No response within the time-out.
    Unanswered,
    /// No response yet when the sensor was stopped.
    SensorStopped,
    /// An ICMP error says that the request goes no further.
    Refused,
    /// The response came after the time-out; its request was reported unanswered.
    Late,
    /// The client had asked again before the answer came, and no longer waits for it.
    Superseded,
    /// The request before it once more.
    DuplicateRequest,
    /// A second, identical response.
    DuplicateResponse,
    /// A second response to the same request with other fields.
    ConflictingResponse,
    /// A response on a known path whose origin timestamp fits no request.
    OriginMismatch,
    /// A response without any request.
    UnsolicitedResponse,
    /// A packet of mode 1 or 2, and the one that it answers.
    Symmetric,
    /// A packet of mode 5.
    Broadcast,
}

impl Match {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Basic,
        Self::Interleaved,
        Self::Weak,
        Self::Unanswered,
        Self::SensorStopped,
        Self::Refused,
        Self::Late,
        Self::Superseded,
        Self::DuplicateRequest,
        Self::DuplicateResponse,
        Self::ConflictingResponse,
        Self::OriginMismatch,
        Self::UnsolicitedResponse,
        Self::Symmetric,
        Self::Broadcast,
    ];

    /// The name used in metrics and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Interleaved => "interleaved",
            Self::Weak => "weak",
            Self::Unanswered => "unanswered",
            Self::SensorStopped => "sensor_stopped",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Superseded => "superseded",
            Self::DuplicateRequest => "duplicate_request",
            Self::DuplicateResponse => "duplicate_response",
            Self::ConflictingResponse => "conflicting_response",
            Self::OriginMismatch => "origin_mismatch",
            Self::UnsolicitedResponse => "unsolicited_response",
            Self::Symmetric => "symmetric",
            Self::Broadcast => "broadcast",
        }
    }

    /// Whether it is a packet too many: anybody can send such, and choose how many.
    pub const fn is_extra(self) -> bool {
        matches!(
            self,
            Self::DuplicateRequest
                | Self::DuplicateResponse
                | Self::ConflictingResponse
                | Self::OriginMismatch
                | Self::UnsolicitedResponse
        )
    }

    /// Whether a request got its response, in time or not.
    pub const fn is_answered(self) -> bool {
        matches!(
            self,
            Self::Basic | Self::Interleaved | Self::Weak | Self::Superseded | Self::Late
        )
    }
}

/// What was noticed beside the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// The response came from another address or port than was asked.
    pub other_address: bool,
    /// Request and response were seen at different interfaces.
    pub other_interface: bool,
    /// The request came before the last one was answered and much sooner than its poll exponent says.
    pub retry: bool,
    /// The client sends this transmit timestamp again and again.
    pub constant_transmit: bool,
    /// The response does not repeat the request's NTS unique identifier.
    pub identifier_mismatch: bool,
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
    /// Who was asked.
    pub server: SocketAddr,
    /// Absent for responses that fit none. Of a second response the request that the first one had.
    pub request: Option<Packet<Time>>,
    /// Absent for requests without an answer.
    pub response: Option<Packet<Time>>,
    /// Why the request was refused, and by whom.
    pub refusal: Option<Packet<Refusal>>,
    /// What was noticed beside.
    pub remarks: Remarks,
}

impl Exchange {
    /// Only a request.
    pub(super) fn of_request(kind: Match, request: Packet<Time>) -> Self {
        Self {
            kind,
            scope: request.scope,
            client: request.source,
            server: request.destination,
            request: Some(request),
            response: None,
            refusal: None,
            remarks: Remarks::default(),
        }
    }

    /// Only a response.
    pub(super) fn of_response(kind: Match, response: Packet<Time>) -> Self {
        Self {
            kind,
            scope: response.scope,
            client: response.destination,
            server: response.source,
            request: None,
            response: Some(response),
            refusal: None,
            remarks: Remarks::default(),
        }
    }

    /// Both.
    pub(super) fn of_pair(kind: Match, request: Packet<Time>, response: Packet<Time>) -> Self {
        let other_interface = request.scope != response.scope;
        Self {
            remarks: Remarks {
                other_address: request.destination != response.source,
                other_interface,
                ..Remarks::default()
            },
            response: Some(response),
            ..Self::of_request(kind, request)
        }
    }
}

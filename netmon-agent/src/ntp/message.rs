//! Findings as the server stores them.

use std::net::IpAddr;

use netmon_common::wire::{NtpClientView, NtpExchange, NtpFlag, NtpMatch, NtpRefusal, NtpVantage};

use super::{Exchange, Finding, Gate, Match, Packet, association::ClientView};

impl From<Match> for NtpMatch {
    fn from(kind: Match) -> Self {
        match kind {
            Match::Basic => Self::Basic,
            Match::Interleaved => Self::Interleaved,
            Match::Weak => Self::Weak,
            Match::Unanswered => Self::Unanswered,
            Match::SensorStopped => Self::SensorStopped,
            Match::Refused => Self::Refused,
            Match::Late => Self::Late,
            Match::Superseded => Self::Superseded,
            Match::DuplicateRequest => Self::DuplicateRequest,
            Match::DuplicateResponse => Self::DuplicateResponse,
            Match::ConflictingResponse => Self::ConflictingResponse,
            Match::OriginMismatch => Self::OriginMismatch,
            Match::UnsolicitedResponse => Self::UnsolicitedResponse,
            Match::Symmetric => Self::Symmetric,
            Match::Broadcast => Self::Broadcast,
        }
    }
}

impl Finding {
    /// The exchange as the server stores it. `interface` is the name of its scope's index.
    pub fn message(&self, interface: &str) -> NtpExchange {
        let (exchange, measured) = (&self.exchange, &self.measured);
        // A second response is a row of its own: the request is in the row of the first.
        let request = exchange
            .request
            .filter(|_| exchange.response.is_none() || !exchange.kind.is_extra());
        let response = exchange.response;
        let types = |packet: Option<Packet<super::Time>>| {
            packet.map_or(Vec::new(), |packet| {
                let types = packet.content.extensions().iter();
                types.map(|kind| u32::from(*kind)).collect()
            })
        };
        let from = response
            .filter(|_| exchange.remarks.other_address)
            .map(|packet| packet.source);
        NtpExchange {
            interface: interface.to_owned(),
            ifindex: exchange.scope.ifindex,
            vlan: exchange.scope.vlans[0].into(),
            inner_vlan: exchange.scope.vlans[1].into(),
            r#match: NtpMatch::from(exchange.kind).into(),
            client: octets(exchange.client.ip()),
            client_port: exchange.client.port().into(),
            server: octets(exchange.server.ip()),
            server_port: exchange.server.port().into(),
            requested_at_unix_ns: request.map_or(0, |packet| packet.captured_at_unix_ns),
            answered_at_unix_ns: response.map_or(0, |packet| packet.captured_at_unix_ns),
            request: request.map(|packet| packet.message()),
            response: response.map(|packet| packet.message()),
            response_time_ns: measured.response_time_ns,
            server_processing_ns: measured.server_processing_ns,
            network_delay_ns: measured.network_delay_ns,
            offset_ns: measured.offset_ns,
            client_to_server_ns: measured.client_to_server_ns,
            null_reason: measured.null_reason.to_owned(),
            vantage: measured
                .vantage
                .map_or(NtpVantage::Unspecified, NtpVantage::from)
                .into(),
            offset_error_ns: measured.offset_error_ns,
            client_offset_ns: measured.client_offset_ns,
            client_delay_ns: measured.client_delay_ns,
            kiss_code: exchange.kiss_code().unwrap_or_default(),
            answered_from: from.map_or(Vec::new(), |from| octets(from.ip())),
            answered_from_port: from.map_or(0, |from| from.port().into()),
            nts: exchange.is_nts(),
            request_extensions: types(request),
            response_extensions: types(response),
            flags: self.flags(),
            root_distance_ns: measured.root_distance_ns,
            client_clock_ns: measured.client_clock_ns,
            server_to_sensor_ns: measured.server_to_sensor_ns,
            refusal: exchange.refusal.map(|packet| NtpRefusal {
                icmp_type: packet.content.kind.into(),
                icmp_code: packet.content.code.into(),
                from: octets(packet.source.ip()),
            }),
            association: self.association,
            client_view: self.client_view.map(NtpClientView::from),
            gate: match measured.gate {
                None | Some(Gate::Good) => String::new(),
                Some(gate) => gate.name().to_owned(),
            },
        }
    }

    fn flags(&self) -> u32 {
        let (remarks, measured) = (self.exchange.remarks, &self.measured);
        [
            (measured.gate == Some(Gate::Good), NtpFlag::Good),
            (remarks.other_address, NtpFlag::OtherAddress),
            (remarks.other_interface, NtpFlag::OtherInterface),
            (measured.of_previous, NtpFlag::OfPrevious),
            (remarks.retry, NtpFlag::Retry),
            (remarks.constant_transmit, NtpFlag::ConstantTransmit),
            (remarks.identifier_mismatch, NtpFlag::IdentifierMismatch),
            (self.client_view.is_some(), NtpFlag::T4Recovered),
            (measured.is_leap_second, NtpFlag::LeapSecond),
            (measured.is_time_disclosed, NtpFlag::TimeDisclosed),
        ]
        .into_iter()
        .filter(|(is_set, _)| *is_set)
        .fold(0, |flags, (_, flag)| flags | flag as u32)
    }
}

impl Exchange {
    /// The code of a kiss-o'-death, if it is one that can be printed.
    pub fn kiss_code(&self) -> Option<String> {
        let code = self.response.as_ref()?.content.header.kiss_code()?;
        let letters = code.iter().take_while(|octet| **octet != 0);
        Some(letters.map(|octet| char::from(*octet)).collect())
    }

    /// Whether one of its packets carries Network Time Security.
    pub fn is_nts(&self) -> bool {
        let packets = [&self.request, &self.response];
        packets
            .into_iter()
            .flatten()
            .any(|packet| packet.content.nts)
    }
}

impl From<ClientView> for NtpClientView {
    fn from(view: ClientView) -> Self {
        Self {
            requested_at_unix_ns: view.requested_at_unix_ns,
            offset_ns: view.offset_ns,
            delay_ns: view.delay_ns,
        }
    }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

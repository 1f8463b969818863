//! `packet`: one NTP packet.

use std::net::IpAddr;

use netmon_common::{
    event::NtpEvent,
    ntp::{Mac, NtpTimestamp, PartialHeader, Trailer},
};
use serde::Serialize;

use super::vlans;
use crate::replay::capture::Frame;

/// An NTP packet, field by field as it stood on the wire.
#[derive(Serialize)]
pub(in crate::replay) struct PacketRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    pub(in crate::replay) frame: u64,
    pub(in crate::replay) time_ns: Option<i64>,
    interface: Option<&'a str>,
    vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outer_vlan: Option<u16>,
    pub(in crate::replay) source: IpAddr,
    pub(in crate::replay) source_port: u16,
    pub(in crate::replay) destination: IpAddr,
    pub(in crate::replay) destination_port: u16,
    pub(in crate::replay) length: u32,
    captured: u32,
    leap: Option<u8>,
    pub(in crate::replay) version: Option<u8>,
    pub(in crate::replay) mode: Option<u8>,
    pub(in crate::replay) stratum: Option<u8>,
    poll: Option<i8>,
    precision: Option<i8>,
    root_delay: Option<u32>,
    root_dispersion: Option<u32>,
    reference_id: Option<String>,
    reference_timestamp: Option<String>,
    origin_timestamp: Option<String>,
    receive_timestamp: Option<String>,
    transmit_timestamp: Option<String>,
    extensions: Option<Vec<u16>>,
    mac_length: Option<u16>,
}

impl<'a> PacketRecord<'a> {
    /// `payload` is all that was captured of the UDP payload: more than the event carries.
    pub(in crate::replay) fn new(
        file: Option<&'a str>,
        frame: &Frame<'_>,
        interface: Option<&'a str>,
        event: &NtpEvent,
        payload: &[u8],
    ) -> Self {
        let header = PartialHeader::read(payload);
        // Modes 6 and 7 have neither extension fields nor a MAC in this place.
        let has_trailer = header.mode.is_some_and(|mode| mode <= 5);
        let trailer = has_trailer.then(|| Trailer::parse(payload, event.payload_length.into()));
        let (vlan, outer_vlan) = vlans([event.vlan, event.inner_vlan]);
        Self {
            file,
            frame: frame.number,
            time_ns: frame.time_ns,
            interface,
            vlan,
            outer_vlan,
            source: event.source(),
            source_port: event.source_port,
            destination: event.destination(),
            destination_port: event.destination_port,
            length: frame.length,
            captured: frame.captured,
            leap: header.leap,
            version: header.version,
            mode: header.mode,
            stratum: header.stratum,
            poll: header.poll,
            precision: header.precision,
            root_delay: header.root_delay,
            root_dispersion: header.root_dispersion,
            reference_id: header.reference_id.map(|id| format!("{id:08x}")),
            reference_timestamp: hexadecimal(header.reference_timestamp),
            origin_timestamp: hexadecimal(header.origin_timestamp),
            receive_timestamp: hexadecimal(header.receive_timestamp),
            transmit_timestamp: hexadecimal(header.transmit_timestamp),
            extensions: trailer.and_then(|trailer| {
                let kinds: Vec<u16> = trailer.extensions().map(|field| field.kind).collect();
                // Something follows the header, and the capture ends before it says what.
                let is_unknown = kinds.is_empty() && trailer.mac() == Mac::NotCaptured;
                (!is_unknown).then_some(kinds)
            }),
            mac_length: trailer.and_then(|trailer| trailer.mac().length()),
        }
    }
}

fn hexadecimal(timestamp: Option<NtpTimestamp>) -> Option<String> {
    timestamp.map(|timestamp| format!("{:016x}", timestamp.0))
}

//! NTP exchanges of simulated agents: each server answers every client a millisecond later.

use netmon_common::wire::{NtpExchange, NtpMatch, NtpPacket};

use crate::source::{Shape, now_ns};

/// The exchanges of a batch: the next clients of the agent's, round and round.
pub fn of(agent: usize, sequence: u64, shape: Shape) -> Vec<NtpExchange> {
    let first = (sequence as usize - 1) * shape.exchanges;
    let at = now_ns();
    (first..first + shape.exchanges)
        .map(|n| exchange(agent, n % shape.clients, at + n as i64))
        .collect()
}

fn exchange(agent: usize, client: usize, at: i64) -> NtpExchange {
    let client_address = (10_u32 << 24 | client as u32).to_be_bytes();
    NtpExchange {
        interface: "eth0".to_owned(),
        ifindex: 2,
        r#match: NtpMatch::Basic.into(),
        client: client_address.into(),
        client_port: 50_000,
        server: vec![192, 0, 2, (agent % 250) as u8 + 1],
        server_port: 123,
        requested_at_unix_ns: at,
        answered_at_unix_ns: at + 1_000_000,
        request: Some(packet(3, 0, at)),
        response: Some(packet(4, 2, at)),
        response_time_ns: Some(1_000_000),
        server_processing_ns: Some(20_000),
        network_delay_ns: Some(980_000),
        offset_ns: Some(-12_345),
        client_to_server_ns: Some(490_000),
        ..NtpExchange::default()
    }
}

fn packet(mode: u32, stratum: u32, at: i64) -> NtpPacket {
    NtpPacket {
        leap: 0,
        version: 4,
        mode,
        stratum,
        poll: 6,
        precision: -23,
        root_delay: 0x0123,
        root_dispersion: 0x0456,
        reference_id: 0xc0a8_0001,
        reference_timestamp: 0xe800_0000_0000_0000 | at as u64 >> 8,
        origin_timestamp: at as u64,
        receive_timestamp: at as u64 + 1,
        transmit_timestamp: at as u64 + 2,
        length: 48,
        ttl: 64,
        ..NtpPacket::default()
    }
}

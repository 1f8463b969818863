//! NTP requests and their answers, made by hand, on one cable.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use netmon_lab::{
    Flood,
    flood::{Pace, Sent},
};

/// Requests that are sent one behind the other; their answers follow.
const REQUESTS: usize = 128;
/// One burst.
const FRAMES: usize = 2 * REQUESTS;
const SERVER: [u8; 4] = [192, 0, 2, 123];
const HEADERS: usize = 14 + 20 + 8;
const NTP: usize = 48;
/// Where the timestamps stand in a frame.
const ORIGIN: usize = HEADERS + 24;
const RECEIVE: usize = HEADERS + 32;
const TRANSMIT: usize = HEADERS + 40;
const UNIX_EPOCH_IN_NTP_S: u64 = 2_208_988_800;
/// What the server says that it took.
const PROCESSING: Duration = Duration::from_micros(10);
/// Odd: numbers times this are all different, and look random as clients' cookies do.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Frames that become another exchange each time they are sent.
pub struct Traffic {
    frames: Vec<Vec<u8>>,
    number: u64,
}

impl Traffic {
    /// Exchanges of about so many clients with one server.
    pub fn of(clients: u32) -> Self {
        let clients = clients.next_multiple_of(REQUESTS as u32);
        let numbers: Vec<u32> = (0..clients).collect();
        let bursts = numbers.chunks(REQUESTS).flat_map(|numbers| {
            let requests = numbers.iter().map(|number| request(*number));
            requests.chain(numbers.iter().map(|number| answer(*number)))
        });
        Self {
            frames: bursts.collect(),
            number: 0,
        }
    }

    /// Requests with answers, a second, for some time.
    pub fn pace(requests: u32, time: Duration) -> Pace {
        Pace {
            rate: 2.0 * f64::from(requests),
            burst: FRAMES,
            time,
        }
    }

    /// Sends them at a pace; before each sending, requests get transmit timestamps that never were
    /// before, and their answers name them.
    pub fn send(&mut self, flood: &Flood, pace: Pace, cpu: Option<usize>) -> Result<Sent> {
        let Self { frames, number } = self;
        flood.send_paced(frames, pace, cpu, |burst| renew(burst, number))
    }
}

fn renew(burst: &mut [Vec<u8>], number: &mut u64) {
    let (requests, answers) = burst.split_at_mut(burst.len() / 2);
    let received = now().to_be_bytes();
    let sent = (now() + ntp(PROCESSING)).to_be_bytes();
    for (request, answer) in requests.iter_mut().zip(answers) {
        *number += 1;
        let cookie = number.wrapping_mul(SCATTER).to_be_bytes();
        request[TRANSMIT..TRANSMIT + 8].copy_from_slice(&cookie);
        answer[ORIGIN..ORIGIN + 8].copy_from_slice(&cookie);
        answer[RECEIVE..RECEIVE + 8].copy_from_slice(&received);
        answer[TRANSMIT..TRANSMIT + 8].copy_from_slice(&sent);
    }
}

/// Of RFC 5905's 32 bits of fraction each.
fn ntp(time: Duration) -> u64 {
    let fraction = (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
    time.as_secs() << 32 | fraction
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.expect("the clock is right");
    ntp(since + Duration::from_secs(UNIX_EPOCH_IN_NTP_S))
}

/// A client's address and port, from its number.
fn client(number: u32) -> ([u8; 4], u16) {
    let [_, a, b, c] = number.to_be_bytes();
    ([10, a, b, c], 1024 + (number % 60_000) as u16)
}

fn request(number: u32) -> Vec<u8> {
    let (address, port) = client(number);
    let mut packet = [0; NTP];
    // Version 4, client; poll exponent 6; precision not disclosed.
    packet[..4].copy_from_slice(&[0x23, 0, 6, 0x20]);
    frame((address, port), (SERVER, 123), &packet)
}

fn answer(number: u32) -> Vec<u8> {
    let mut packet = [0; NTP];
    // Version 4, server; stratum 1; the reference clock was read just now.
    packet[..4].copy_from_slice(&[0x24, 1, 6, 0xe8]);
    packet[12..16].copy_from_slice(b"GPS\0");
    packet[16..24].copy_from_slice(&now().to_be_bytes());
    frame((SERVER, 123), client(number), &packet)
}

/// For somebody else's link-layer address: the receiving stack throws it away behind the hooks.
fn frame(
    (source, source_port): ([u8; 4], u16),
    (destination, destination_port): ([u8; 4], u16),
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let length = (28 + payload.len()) as u16;
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    header.extend(source);
    header.extend(destination);
    let sum: u32 = header
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(header);
    for word in [source_port, destination_port, length - 20, 0] {
        frame.extend(word.to_be_bytes());
    }
    frame.extend(payload);
    frame
}

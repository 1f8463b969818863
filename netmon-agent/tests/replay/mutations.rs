//! Captures with octets changed, taken out and put in: whatever is read, reading ends.

use netmon_agent::replay::{Format, userspace};

use crate::build::{
    MICROSECONDS, NANOSECONDS, Order, PcapNg, ethernet, frames, ipv4, pcap, request_packet, tagged,
    tcp, udp,
};

const ROUNDS: u32 = 40_000;

/// A linear congruential generator: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let all = [
        ethernet(0x0800, &request_packet(1)),
        ethernet(0x8100, &tagged(5, 0x0800, &request_packet(3))),
        ethernet(0x0800, &ipv4(6, &tcp(1, 2, 0x02, &[]))),
        ethernet(
            0x0800,
            &ipv4(
                17,
                &udp(
                    50_000,
                    4789,
                    &[&[8; 8], &ethernet(0x0800, &request_packet(4))[..]].concat(),
                ),
            ),
        ),
    ];
    let mut seeds = vec![
        frames(1, &all),
        frames(113, &all),
        frames(101, &[request_packet(2)]),
    ];
    for order in Order::BOTH {
        let records = [(1, 2, 90, &all[0][..]), (3, 4, 2000, &all[1][..])];
        seeds.push(pcap(order, NANOSECONDS, 1, &records));
        seeds.push(pcap(order, MICROSECONDS, 276, &records));
        let mut file = PcapNg::new(order);
        file.interface(1, 0, &[(2, b"eth0"), (9, &[9])])
            .enhanced(0, 1 << 40, &all[0], &[(2, &[0, 0, 0, 1])])
            .simple(90, &all[0])
            .block(0x0bad, &[0; 20])
            .obsolete(0, 5, &all[1])
            .section(order)
            .interface(0, 64, &[])
            .enhanced(0, 6, &all[2], &[]);
        seeds.push(file.octets);
    }
    seeds
}

fn mutate(capture: &mut Vec<u8>, numbers: &mut Numbers) {
    const TELLING: [u8; 8] = [0, 1, 4, 6, 0x7f, 0x80, 0xfe, 0xff];
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(capture.len());
        match numbers.below(6) {
            0 => capture.truncate(at),
            1 => {
                let end = (at + numbers.below(24)).min(capture.len());
                capture.drain(at..end);
            }
            2 => {
                let part = capture[at..(at + 32).min(capture.len())].to_vec();
                let to = numbers.below(capture.len());
                capture.splice(to..to, part);
            }
            _ => {
                if let Some(octet) = capture.get_mut(at) {
                    *octet = if numbers.below(2) == 0 {
                        TELLING[numbers.below(TELLING.len())]
                    } else {
                        *octet ^ 1 << numbers.below(8)
                    };
                }
            }
        }
    }
}

#[test]
fn no_mutation_of_a_capture_stops_the_reader_or_makes_it_panic() {
    let seeds = seeds();
    let mut numbers = Numbers(4);
    let (mut read, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let mut capture = seeds[round as usize % seeds.len()].clone();
        mutate(&mut capture, &mut numbers);
        let mut records = Vec::new();
        match userspace(&capture[..], Format::Ndjson, &mut records).unwrap() {
            Ok(()) => {
                read += 1;
                // No capture this small has many records; one that had would be read in circles.
                let lines = records.iter().filter(|octet| **octet == b'\n').count();
                assert!(lines < 200, "{lines} records of {} octets", capture.len());
            }
            Err(_) => refused += 1,
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > ROUNDS / 2);
}

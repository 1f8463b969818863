//! Writes xdb files of structure 2 and 3, as far as they are read: with an empty index.

use std::net::{Ipv4Addr, Ipv6Addr};

const REGIONS_FROM: usize = 256 + 256 * 256 * 8;

/// For IPv4: first and last address, region.
pub fn write_v4(version: u16, segments: &[(&str, &str, &str)]) -> Vec<u8> {
    let octets = |address: &str| {
        let address: Ipv4Addr = address.parse().unwrap();
        u32::from(address).to_le_bytes().to_vec()
    };
    write(version, 4, segments, octets)
}

/// For IPv6.
pub fn write_v6(segments: &[(&str, &str, &str)]) -> Vec<u8> {
    let octets = |address: &str| address.parse::<Ipv6Addr>().unwrap().octets().to_vec();
    write(3, 6, segments, octets)
}

fn write(
    version: u16,
    ip_version: u16,
    segments: &[(&str, &str, &str)],
    octets: impl Fn(&str) -> Vec<u8>,
) -> Vec<u8> {
    let mut file = vec![0; REGIONS_FROM];
    let mut index = Vec::new();
    let mut last = 0;
    for (from, to, region) in segments {
        last = index.len();
        index.extend(octets(from));
        index.extend(octets(to));
        index.extend((region.len() as u16).to_le_bytes());
        index.extend((file.len() as u32).to_le_bytes());
        file.extend(region.bytes());
    }
    let first = file.len();
    file.extend(index);
    file[0..2].copy_from_slice(&version.to_le_bytes());
    file[2..4].copy_from_slice(&1u16.to_le_bytes());
    file[4..8].copy_from_slice(&1_780_000_000u32.to_le_bytes());
    file[8..12].copy_from_slice(&(first as u32).to_le_bytes());
    file[12..16].copy_from_slice(&((first + last) as u32).to_le_bytes());
    if version == 3 {
        file[16..18].copy_from_slice(&ip_version.to_le_bytes());
        file[18..20].copy_from_slice(&4u16.to_le_bytes());
    }
    file
}

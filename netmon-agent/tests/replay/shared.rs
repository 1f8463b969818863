//! Real captures with decodings by others, where they are: in the directory `NETMON_CAPTURES` names,
//! or beside the checkout.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    run::{Replay, on_files},
    sums::balance,
};

/// Every capture, in order.
pub fn captures() -> Vec<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/captures");
    let directory = std::env::var_os("NETMON_CAPTURES").map_or(beside.into(), PathBuf::from);
    let mut found = Vec::new();
    let mut open = vec![directory];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|end| end == "pcap" || end == "pcapng")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub fn userspace(capture: &Path) -> Replay {
    let path = capture.to_str().unwrap();
    on_files(&[
        path,
        "--userspace",
        "--packets",
        "ntp",
        "--format",
        "ndjson",
    ])
}

#[test]
fn every_capture_is_read_and_its_books_balance() {
    for capture in captures() {
        let replay = userspace(&capture);
        assert!(replay.success, "{}: {}", capture.display(), replay.stderr);
        balance(&replay);
    }
}

#[test]
fn every_field_of_every_ntp_packet_equals_what_tshark_says() {
    let mut compared = 0;
    for capture in captures() {
        let Ok(lines) = fs::read_to_string(capture.with_extension("tshark.ndjson")) else {
            continue;
        };
        let packets = userspace(&capture).records("packet");
        let expected: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["quoted_in_icmp"] != true)
            .collect();
        for line in &expected {
            let number = number(line, "frame.number").unwrap();
            let of_frame = |packet: &&Value| packet["frame"].as_i64() == Some(number);
            let packet = packets.iter().find(of_frame);
            let packet = packet.unwrap_or_else(|| panic!("{}: {number}", capture.display()));
            compare(
                packet,
                line,
                &format!("{}: frame {number}", capture.display()),
            );
        }
        // What is too broken for tshark may still have a record.
        assert!(packets.len() >= expected.len(), "{}", capture.display());
        compared += expected.len();
    }
    println!("{compared} packets compared");
}

/// A number as tshark prints it: decimal or hexadecimal, the last of several.
fn number(line: &Value, field: &str) -> Option<i64> {
    let text = line[field].as_str()?.rsplit(',').next()?;
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn compare(packet: &Value, line: &Value, place: &str) {
    for (ours, theirs) in [
        ("length", "frame.len"),
        ("captured", "frame.cap_len"),
        ("source_port", "udp.srcport"),
        ("destination_port", "udp.dstport"),
        ("vlan", "vlan.id"),
        ("leap", "ntp.flags.li"),
        ("version", "ntp.flags.vn"),
        ("mode", "ntp.flags.mode"),
        ("stratum", "ntp.stratum"),
        ("poll", "ntp.ppoll"),
        ("root_delay", "ntp.rootdelay"),
        ("root_dispersion", "ntp.rootdispersion"),
    ] {
        assert_eq!(
            packet[ours].as_i64(),
            number(line, theirs),
            "{place}: {ours}"
        );
    }
    // It prints them without their sign.
    let precision = number(line, "ntp.precision").map(|precision| i64::from(precision as u8 as i8));
    assert_eq!(packet["precision"].as_i64(), precision, "{place}");
    let time = line["frame.time_epoch"].as_str().unwrap().replace('.', "");
    assert_eq!(packet["time_ns"].to_string(), time, "{place}");
    for (ours, theirs) in [("source", "src"), ("destination", "dst")] {
        let innermost = |layer| {
            line[format!("{layer}.{theirs}")]
                .as_str()?
                .rsplit(',')
                .next()
        };
        let address = ["ip", "ipv6"].map(innermost);
        assert_eq!(
            packet[ours].as_str(),
            address[0].or(address[1]),
            "{place}: {ours}"
        );
    }
    assert_eq!(packet["reference_id"], line["ntp.refid"], "{place}");
    for (ours, theirs) in [
        ("reference_timestamp", "reftime_hex"),
        ("origin_timestamp", "org_hex"),
        ("receive_timestamp", "rec_hex"),
        ("transmit_timestamp", "xmt_hex"),
    ] {
        assert_eq!(packet[ours], line["decoded"][theirs], "{place}: {ours}");
    }
    let types = line["ntp.ext.type"].as_str().unwrap_or("");
    let types = types.split(',').filter(|text| !text.is_empty());
    let types: Vec<_> = types
        .map(|text| u16::from_str_radix(&text[2..], 16).unwrap())
        .collect();
    let extensions = packet["extensions"].as_array().cloned().unwrap_or_default();
    assert_eq!(
        extensions,
        types.into_iter().map(Value::from).collect::<Vec<_>>(),
        "{place}"
    );
    // Two digits an octet, and the key identifier before them.
    let digest = line["ntp.mac"]
        .as_str()
        .map_or(0, |text| text.len() / 2 + 4);
    assert_eq!(
        packet["mac_length"].as_u64().unwrap_or(0),
        digest as u64,
        "{place}"
    );
}

//! What is cut, damaged, or no capture at all.

use std::{os::unix::process::CommandExt as _, process::Command};

use crate::{
    build::{MICROSECONDS, Order, PcapNg, ethernet, frames, pcap, request_packet},
    run::{fed, on_files, replay, run},
};

fn three() -> Vec<Vec<u8>> {
    (1..=3)
        .map(|n| ethernet(0x0800, &request_packet(n)))
        .collect()
}

#[test]
fn a_file_cut_anywhere_gives_the_frames_before_the_cut() {
    let whole = frames(1, &three());
    let record = 16 + 90;
    for length in 24..whole.len() {
        let replay = replay(&whole[..length]);
        let (frames, rest) = ((length - 24) / record, (length - 24) % record);
        assert!(replay.success, "{}", replay.stderr);
        assert_eq!(replay.transmits().len(), frames, "{length}");
        assert_eq!(replay.losses("file_cut"), u64::from(rest != 0), "{length}");
        assert_eq!(
            replay.stderr.contains(&format!("frame {}", frames + 1)),
            rest != 0
        );
    }
}

#[test]
fn a_damaged_record_does_not_hide_what_was_before_it() {
    let mut file = frames(1, &three());
    // The second record claims two gigabytes.
    file[24 + 106 + 8..][..4].copy_from_slice(&(2_u32 << 30).to_le_bytes());
    let pcap = replay(&file);
    let mut file = PcapNg::new(Order::Big);
    file.interface(1, 0, &[])
        .enhanced(0, 0, &three()[0], &[])
        .enhanced(0, 1, &three()[1], &[]);
    let last = file.octets.len() - 1;
    file.octets[last] ^= 4;
    let pcapng = replay(&file.octets);
    for replay in [pcap, pcapng] {
        assert!(replay.success);
        assert_eq!(replay.transmits(), ["0000000000000001"]);
        assert_eq!(replay.losses("file_damaged"), 1);
        assert!(replay.stderr.contains("frame 2: ") && replay.stderr.contains("pcapfix"));
        assert!(!replay.records("flow").is_empty());
    }
}

#[test]
fn what_is_no_capture_is_refused_with_a_remedy() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "empty"),
        (b"{}", "neither pcap nor pcapng"),
        (b"not a capture at all, but text", "editcap"),
        (&frames(1, &[])[..20], "within its header"),
        (
            &PcapNg::new(Order::Little).octets[..20],
            "within its header",
        ),
    ];
    for (input, expected) in cases {
        let replay = replay(input);
        assert!(!replay.success);
        assert_eq!(replay.stdout, "");
        assert!(replay.stderr.contains(expected), "{}", replay.stderr);
        assert_eq!(replay.stderr.lines().count(), 1, "{}", replay.stderr);
    }
    let missing = on_files(&["/nonexistent/x.pcap", "--userspace"]);
    assert!(!missing.success && missing.stderr.contains("/nonexistent/x.pcap"));
}

#[test]
fn without_privileges_the_error_names_the_way_without_them() {
    let capture = pcap(Order::Little, MICROSECONDS, 1, &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon-agent"));
    command.args(["replay", "-"]);
    if nix::unistd::geteuid().is_root() {
        command.uid(65_534).gid(65_534).current_dir("/");
    }
    let replay = fed(command, &capture);
    assert!(!replay.success);
    assert!(replay.stderr.contains("--userspace"), "{}", replay.stderr);
    assert_eq!(replay.stderr.lines().count(), 1, "{}", replay.stderr);
}

#[test]
fn the_table_has_a_line_for_each_record() {
    let capture = frames(1, &three());
    let table = run(&capture, &["--userspace", "--packets", "ntp"]);
    let starts: Vec<_> = table
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let expected = [
        "packet", "packet", "packet", "exchange", "exchange", "exchange", "flow", "counters",
        "losses",
    ];
    assert_eq!(starts, expected, "{}", table.stdout);
    let without = run(&capture, &["--userspace"]);
    assert!(!without.stdout.contains("packet  "));
}

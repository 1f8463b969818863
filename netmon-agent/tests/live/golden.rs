//! The kernel programs against the slice reader: the same source must say the same, on every golden
//! packet cut at every octet, and on a million damaged ones.

mod clock;
mod comparison;
mod flows;
mod mutation;
mod table;

use std::collections::BTreeSet;

use anyhow::Result;
use netmon_agent::sensor::{Program, TestBuffer};
use netmon_common::{
    counters::Direction,
    loss::Loss,
    ntp::NtpPorts,
    packet::{Link, Packet, Slice, inner, parse, quoted},
};

use self::{
    comparison::{Comparison, fate},
    mutation::{Random, damaged},
    table::Fate,
};

/// Damaged frames of a run: `NETMON_FUZZ_FRAMES` says otherwise.
const DAMAGED_FRAMES: u64 = 1_000_000;
/// Octets from one cut of a golden packet to the next: `NETMON_GOLDEN_STEP` says otherwise.
const STEP: u64 = 1;
/// `NETMON_FUZZ_SEED` says otherwise; a failure names the frame, and the seed brings it again.
const SEED: u64 = 0x6e65_746d_6f6e;

#[test]
fn golden_packets_are_what_the_table_says() {
    let golden = table::packets();
    let names: BTreeSet<_> = golden.iter().map(|packet| &packet.name).collect();
    assert_eq!(names.len(), golden.len(), "each has a name of its own");
    assert!(golden.len() >= 150, "{} packets", golden.len());
    for packet in golden {
        let (class, fate) = fate(&packet.frame, &table::ports());
        assert_eq!(
            (class, fate),
            (packet.class, packet.fate),
            "{}",
            packet.name
        );
    }
}

#[test]
fn on_a_port_that_is_not_looked_for_is_no_ntp() {
    let (mut fewer, mut none) = (0, 0);
    for packet in table::packets() {
        let (_, on_one) = fate(&packet.frame, &NtpPorts::default());
        if on_one != packet.fate {
            assert_eq!((packet.fate, on_one), (Fate::Event, Fate::Ordinary));
            fewer += 1;
        }
        let (_, on_none) = fate(&packet.frame, &NtpPorts::NONE);
        assert_eq!(on_none, Fate::Ordinary, "{}", packet.name);
        none += u32::from(packet.fate != Fate::Ordinary);
    }
    assert!(fewer > 100 && none > fewer, "{fewer}, {none}");
}

/// What can be read of a frame, all the way in.
fn everything(frame: &[u8]) -> Result<Packet, Loss> {
    let reader = Slice(frame);
    let packet = parse(&reader, Link::parse(&reader, None)?)?;
    // Whatever they say, they must say it.
    let _ = (quoted(&reader, &packet), inner(&reader, &packet));
    Ok(packet)
}

#[test]
fn a_golden_packet_cut_anywhere_is_the_same_packet_or_cut() {
    for packet in table::packets() {
        let whole = everything(&packet.frame);
        for length in 0..packet.frame.len() {
            let cut = everything(&packet.frame[..length]);
            assert!(
                cut == whole || cut == Err(Loss::Truncated),
                "{} at {length}: {cut:?} instead of {whole:?}",
                packet.name
            );
        }
    }
}

#[tokio::test]
async fn kernel_and_slice_reader_agree_on_golden_packets_cut_at_every_octet() -> Result<()> {
    for (program, direction) in PROGRAMS {
        let mut comparison = Comparison::new(program, direction)?;
        for ports in [NtpPorts::default(), table::ports()] {
            comparison.look_on(ports)?;
            for packet in table::packets() {
                for length in lengths(&packet.frame, 14) {
                    comparison.add(&packet.frame[..length])?;
                }
            }
        }
        let frames = comparison.finish()?;
        println!("{program:?}: {frames} frames, no difference");
    }
    Ok(())
}

#[tokio::test]
async fn the_kernel_looks_for_ntp_where_it_is_told_to_and_as_soon_as_it_is() -> Result<()> {
    let sets = [
        NtpPorts::NONE,
        NtpPorts::new([1123])?,
        NtpPorts::new([53, 123, 1123, 40_000, 1, 2, 3, 4])?,
        NtpPorts::new([65_535])?,
        NtpPorts::NONE,
        NtpPorts::default(),
    ];
    for (program, direction) in PROGRAMS {
        let mut comparison = Comparison::new(program, direction)?;
        for ports in sets {
            comparison.look_on(ports)?;
            for packet in table::packets() {
                comparison.add(&packet.frame)?;
            }
        }
        comparison.finish()?;
    }
    Ok(())
}

#[tokio::test]
async fn segments_of_a_buffer_count_as_packets_on_the_wire() -> Result<()> {
    for (segments, segment_bytes) in [(1, 0), (3, 0), (3, 500), (0, 7), (0, 500)] {
        let buffer = TestBuffer {
            segments,
            segment_bytes,
            ..TestBuffer::default()
        };
        let mut comparison = Comparison::new(Program::Egress, Direction::Egress)?;
        assert!(comparison.lay_out(buffer)?, "{buffer:?}");
        for packet in table::packets() {
            comparison.add(&packet.frame)?;
        }
        comparison.finish()?;
    }
    Ok(())
}

#[tokio::test]
async fn buffers_in_pieces_are_read_all_the_same() -> Result<()> {
    for linear_bytes in [14, 33, 34, 41, 42, 54, 60, 61, 62, 70] {
        let mut comparison = Comparison::new(Program::Ingress, Direction::Ingress)?;
        let buffer = TestBuffer {
            linear_bytes,
            ..TestBuffer::default()
        };
        if !comparison.lay_out(buffer)? {
            println!("this kernel builds no such buffers for tests: nothing tested");
            return Ok(());
        }
        for packet in table::packets() {
            if packet.frame.len() > linear_bytes as usize {
                comparison.add(&packet.frame)?;
            }
        }
        comparison.finish()?;
    }
    Ok(())
}

#[tokio::test]
async fn kernel_and_slice_reader_agree_on_damaged_packets() -> Result<()> {
    let seed = from_environment("NETMON_FUZZ_SEED").unwrap_or(SEED);
    let wanted = from_environment("NETMON_FUZZ_FRAMES").unwrap_or(DAMAGED_FRAMES);
    println!("NETMON_FUZZ_SEED={seed} NETMON_FUZZ_FRAMES={wanted}");
    let golden: Vec<_> = table::packets()
        .into_iter()
        .map(|packet| packet.frame)
        .collect();
    let mut random = Random::new(seed);
    for (program, direction) in PROGRAMS {
        let mut comparison = Comparison::new(program, direction)?;
        let share = wanted.div_ceil(PROGRAMS.len() as u64);
        for (ports, until) in [(NtpPorts::default(), share / 2), (table::ports(), share)] {
            comparison.look_on(ports)?;
            while comparison.taken() < until {
                let frame = damaged(&golden, &mut random);
                let _ = everything(&frame);
                comparison.add(&frame)?;
            }
        }
        let frames = comparison.finish()?;
        println!("{program:?}: {frames} frames, no difference");
    }
    Ok(())
}

#[tokio::test]
async fn a_difference_is_noticed_and_its_frame_named() -> Result<()> {
    // The program counts ingress, and is looked for at egress.
    let mut comparison = Comparison::new(Program::Ingress, Direction::Egress)?;
    for packet in table::packets().iter().take(3) {
        comparison.add(&packet.frame)?;
    }
    let error = comparison.finish().unwrap_err().to_string();
    assert!(error.starts_with("they differ on [02, 00"), "{error}");
    Ok(())
}

/// Where a golden packet is cut: at every octet from `shortest` on, or at some, which are others in
/// packets of other lengths; and it is whole at the end.
fn lengths(frame: &[u8], shortest: usize) -> impl Iterator<Item = usize> + use<> {
    let step = from_environment("NETMON_GOLDEN_STEP")
        .unwrap_or(STEP)
        .max(1) as usize;
    let whole = frame.len();
    (shortest..whole)
        .filter(move |length| (whole - length).is_multiple_of(step))
        .chain((whole >= shortest).then_some(whole))
}

/// Every program that golden packets go through.
const PROGRAMS: [(Program, Direction); 3] = [
    (Program::Ingress, Direction::Ingress),
    (Program::XdpIngress, Direction::Ingress),
    (Program::Egress, Direction::Egress),
];

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

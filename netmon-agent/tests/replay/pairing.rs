//! Any sequence of packets and times through dedupe, pairing and measurement: the books balance.
//! The same sequences are what `fuzz/fuzz_targets/pairing.rs` searches by coverage.

mod books;
mod sequence;

use std::env;

/// A few seconds without optimisation; `NETMON_FUZZ_SEQUENCES` is for longer runs elsewhere.
const SEQUENCES: u64 = 1_500;

/// Octets of one sequence: some 120 packets.
const OCTETS: usize = 1_000;

#[test]
fn any_sequence_of_packets_ends_in_rows_that_add_up() {
    let number = |name: &str, default| {
        env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (first, count) = (
        number("NETMON_FUZZ_SEED", 1),
        number("NETMON_FUZZ_SEQUENCES", SEQUENCES),
    );
    let mut sums = books::Sums::default();
    for seed in first..first + count {
        println!("seed {seed}");
        add(&mut sums, &books::check(&octets(seed)));
    }
    println!("{sums:?}");
    if count < SEQUENCES {
        return;
    }
    assert!(
        sums.kinds.iter().all(|kind| *kind > 0),
        "the sequences reach every kind of match: {sums:?}"
    );
    assert!(sums.dialogues > 0 && sums.copies > 0 && sums.not_remembered > 0);
}

fn add(sums: &mut books::Sums, more: &books::Sums) {
    sums.packets += more.packets;
    sums.dialogues += more.dialogues;
    sums.copies += more.copies;
    sums.undecoded += more.undecoded;
    sums.not_remembered += more.not_remembered;
    for (sum, more) in sums.kinds.iter_mut().zip(more.kinds) {
        *sum += more;
    }
}

/// The same octets for the same seed on every machine.
fn octets(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..OCTETS).map(|_| next()).collect()
}

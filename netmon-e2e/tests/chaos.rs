//! Chaos in the test run: fifty rounds, with and without pinned programs. Another seed is tried with
//! `cargo xtask e2e chaos --seed N`.

use netmon_e2e::chaos::{Options, run};

fn options(pin: bool) -> Options {
    Options {
        rounds: 25,
        seed: 20_261_121,
        pin,
        keep: None,
    }
}

#[test]
fn whatever_dies_the_books_balance() {
    if let Err(error) = run(&options(false)) {
        panic!("{error:?}");
    }
}

#[test]
fn with_pinned_programs_not_one_packet_is_missed() {
    if let Err(error) = run(&options(true)) {
        panic!("{error:?}");
    }
}

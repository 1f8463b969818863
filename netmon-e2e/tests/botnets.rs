//! Thirty times something is killed under the uploads of four clients. Another seed is tried with
//! `cargo xtask e2e botnets --seed N`.

use netmon_e2e::botnets::{Options, run};

#[test]
fn whatever_is_killed_exactly_what_was_sent_is_stored() {
    let options = Options {
        rounds: 30,
        seed: 20_261_121,
        clients: 4,
        keep: None,
    };
    if let Err(error) = run(&options) {
        panic!("{error:?}");
    }
}

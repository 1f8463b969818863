//! What a simulated agent sends, and sends again.

use std::time::Instant;

use netmon_common::wire::{Acknowledgement, Kind};

use crate::outbox::Outbox;

fn sent(outbox: &mut Outbox) -> Vec<u64> {
    let next = || outbox.next(Instant::now(), None);
    std::iter::from_fn(next).map(|((_, n), _)| n).collect()
}

fn acknowledgement(settled_through: u64, sequences: &[u64]) -> Acknowledgement {
    Acknowledgement {
        epoch: 1,
        kind: Kind::Bandwidth.into(),
        settled_through,
        sequences: sequences.to_vec(),
    }
}

#[test]
fn no_more_batches_are_under_way_than_the_window_holds() {
    let mut outbox = Outbox::default();
    outbox.fill(Kind::Bandwidth, 100);
    assert_eq!(sent(&mut outbox).len(), 32);
    let settled = outbox.acknowledged(&acknowledgement(2, &[5]));
    assert_eq!(settled.len(), 3);
    assert_eq!(sent(&mut outbox), [33, 34, 35]);
}

#[test]
fn a_new_connection_sends_again_what_has_no_verdict_and_nothing_else() {
    let mut outbox = Outbox::default();
    outbox.fill(Kind::Bandwidth, 6);
    assert_eq!(sent(&mut outbox), [1, 2, 3, 4, 5, 6]);
    outbox.acknowledged(&acknowledgement(1, &[3, 6]));
    outbox.start_over();
    assert_eq!(sent(&mut outbox), [2, 4, 5]);
    assert!(!outbox.is_settled());
    outbox.acknowledged(&acknowledgement(6, &[]));
    assert!(outbox.is_settled());
}

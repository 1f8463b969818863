//! What goes in comes out once, or is counted.

use super::*;

const CLOCK: Synchronisation = Synchronisation {
    synchronised: true,
    maximum_error_us: 0,
    estimated_error_us: 0,
};
const LIMITS: Limits = Limits {
    max_records: 3,
    max_age: Duration::from_secs(1),
    max_bytes: 1 << 20,
};

fn at(ms: u64) -> Now {
    Now {
        monotonic_ns: ms * 1_000_000,
        unix_ns: 0,
    }
}

fn exchange() -> NtpExchange {
    NtpExchange {
        interface: "eth0".into(),
        ..NtpExchange::default()
    }
}

fn batch(sealed: &Sealed) -> wire::Batch {
    match Uplink::decode(&*sealed.message).unwrap().message.unwrap() {
        uplink::Message::Batch(batch) => batch,
        uplink::Message::Live(_) => panic!("a sealed message is a batch"),
    }
}

#[test]
fn batches_are_numbered_without_a_gap() {
    let mut outbox = Outbox::new(42, LIMITS);
    for _ in 0..7 {
        outbox.push_exchange(at(0), exchange(), CLOCK);
    }
    outbox.seal(at(1), CLOCK);
    outbox.seal(at(2), CLOCK);
    let mut seen = Vec::new();
    let mut last = 0;
    while let Some(sealed) = outbox.next_after(last) {
        last = sealed.sequence;
        let batch = batch(&sealed);
        seen.push((batch.epoch, batch.sequence, batch.exchanges.len()));
    }
    assert_eq!(seen, [(42, 1, 3), (42, 2, 3), (42, 3, 1)]);
}

#[test]
fn a_batch_is_sealed_when_it_is_old_enough() {
    let mut outbox = Outbox::new(1, LIMITS);
    outbox.push_exchange(at(0), exchange(), CLOCK);
    outbox.seal_if_due(at(999), CLOCK);
    assert!(outbox.next_after(0).is_none());
    outbox.seal_if_due(at(1000), CLOCK);
    assert!(outbox.next_after(0).is_some());
}

#[test]
fn a_stored_batch_is_forgotten_once() {
    let mut outbox = Outbox::new(1, LIMITS);
    outbox.push_exchange(at(0), exchange(), CLOCK);
    outbox.seal(at(0), CLOCK);
    outbox.stored(2, 1);
    assert!(!outbox.is_empty(), "another epoch's batch");
    outbox.stored(1, 1);
    outbox.stored(1, 1);
    assert!(outbox.is_empty());
    assert_eq!((outbox.tally().stored, outbox.waiting()), (1, (0, 0)));
}

#[test]
fn a_full_outbox_drops_the_oldest_batch_and_counts_its_records() {
    let limits = Limits {
        max_records: 1,
        max_bytes: 100,
        ..LIMITS
    };
    let mut outbox = Outbox::new(1, limits);
    for _ in 0..20 {
        outbox.push_exchange(at(0), exchange(), CLOCK);
    }
    let (batches, bytes) = outbox.waiting();
    assert!(bytes <= 100 && batches >= 1);
    assert_eq!(
        outbox.tally().dropped_records.exchanges,
        20 - batches as u64
    );
    assert_eq!(outbox.next_after(0).unwrap().sequence, 21 - batches as u64);
}

#[test]
fn bandwidth_is_dropped_last() {
    let limits = Limits {
        max_records: 1,
        max_bytes: 300,
        ..LIMITS
    };
    let mut outbox = Outbox::new(1, limits);
    let frame = BandwidthFrame {
        interface: "eth0".into(),
        ..BandwidthFrame::default()
    };
    outbox.push_bandwidth(at(0), frame, CLOCK);
    for _ in 0..100 {
        outbox.push_exchange(at(0), exchange(), CLOCK);
    }
    assert_eq!(outbox.next_after(0).unwrap().records.bandwidth, 1);
    assert_eq!(outbox.tally().dropped_records.bandwidth, 0);
    assert!(outbox.tally().dropped_records.exchanges > 50);
}

#[test]
fn no_message_comes_near_the_protocols_limit() {
    let limits = Limits {
        max_records: 100_000,
        max_bytes: 1 << 30,
        ..LIMITS
    };
    let mut outbox = Outbox::new(1, limits);
    let large = NtpExchange {
        null_reason: "x".repeat(1000),
        ..exchange()
    };
    for _ in 0..2000 {
        outbox.push_exchange(at(0), large.clone(), CLOCK);
    }
    let mut last = 0;
    while let Some(sealed) = outbox.next_after(last) {
        last = sealed.sequence;
        assert!(sealed.message.len() <= wire::MAX_UPLINK_BYTES * 3 / 4);
    }
    assert!(last > 2);
}

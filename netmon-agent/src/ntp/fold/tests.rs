//! Folds against the exchanges they stand for.

mod made;

use netmon_common::wire::{MAX_FOLD_EXCHANGES, MAX_FOLD_VALUES, NtpExchange, NtpFold, NtpMatch};
use prost::Message as _;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::made::{Out, exchange, fold, now, settings, values_of_all};
use super::*;
use crate::ntp::packet::example::{EPOCH_UNIX_NS, MS, S};

const HOUR_NS: i64 = 3600 * S as i64;

/// Makes an exchange of a time.
type Make<'a> = &'a dyn Fn(u64) -> Box<Finding>;

#[test]
fn exchanges_of_a_client_within_a_window_become_one_fold_when_it_is_over() {
    let (mut fold, mut out) = (fold(settings()), Out::default());
    // The wall clock is 40 s before the end of a window when the monotonic one is 0.
    assert_eq!(EPOCH_UNIX_NS % (60 * S as i64), 20 * S as i64);
    for (kind, at) in [
        (Match::Basic, 1),
        (Match::Basic, 3),
        (Match::Unanswered, 4),
        (Match::Superseded, 2),
    ] {
        fold.add(
            exchange(kind, 1, at * S),
            now((at + 5) * S),
            &mut out.take(),
        );
    }
    fold.due(now(46 * S), &mut out.take());
    assert_eq!((out.folds.len(), fold.open()), (0, (1, 4)));
    fold.due(now(47 * S), &mut out.take());
    assert_eq!((out.folds.len(), fold.open()), (1, (0, 0)));
    let found = &out.folds[0];
    let newest = found.newest.as_ref().unwrap();
    let answered = found.newest_answered.as_ref().unwrap();
    assert_eq!(newest.r#match(), NtpMatch::Unanswered);
    assert_eq!(newest.client, [192, 0, 2, 1]);
    assert_eq!(answered.requested_at_unix_ns, EPOCH_UNIX_NS + 3 * S as i64);
    assert_eq!(found.first_at_unix_ns, EPOCH_UNIX_NS + S as i64);
    assert_eq!((found.exchanges, found.answered, found.kisses), (4, 3, 0));
    assert_eq!(found.response_time_min_ns, Some(MS as i64));
    assert_eq!(found.response_time_sum_ns, 2 * MS as i64);
    assert_eq!(
        (found.offset_min_ns, found.offset_max_ns),
        (Some(-30_000), Some(-30_000))
    );
    assert_eq!(
        (found.server_processing_sum_ns, found.absolute_offset_sum_ns),
        (40_000, 60_000)
    );
    // Matches 1, 2 and 4; stratum, leap, version, reference id; 1 ms, 20 us, 30 us.
    assert_eq!(found.metric, [1, 1, 1, 2, 3, 4, 5, 7, 8, 9]);
    assert_eq!(found.value, [1, 2, 4, 2, 0, 4, 0x0102_0304, 40, 6, 9]);
    assert_eq!(found.count, [2, 1, 1, 3, 3, 3, 3, 2, 2, 2]);
    let expected = Shares {
        folded: 4,
        folds: 1,
        ..Shares::default()
    };
    assert_eq!(fold.shares(), expected);
}

#[test]
fn an_exchange_that_stays_alone_stays_as_it_was() {
    let (mut fold, mut out) = (fold(settings()), Out::default());
    fold.add(exchange(Match::Basic, 1, S), now(S), &mut out.take());
    fold.add(exchange(Match::Basic, 2, S), now(S), &mut out.take());
    assert!(fold.finish(10, &mut out.take()));
    assert_eq!((out.whole.len(), out.folds.len()), (2, 0));
    assert_eq!(fold.shares().whole, 2);
}

#[test]
fn two_windows_are_never_one_fold_and_late_ones_open_theirs_again() {
    let (mut fold, mut out) = (fold(settings()), Out::default());
    for at in [38, 39, 41, 42] {
        fold.add(
            exchange(Match::Basic, 1, at * S),
            now(at * S),
            &mut out.take(),
        );
    }
    fold.due(now(70 * S), &mut out.take());
    for at in [10, 11] {
        fold.add(
            exchange(Match::Late, 1, at * S),
            now(70 * S),
            &mut out.take(),
        );
    }
    assert!(fold.finish(10, &mut out.take()));
    let counts: Vec<_> = out.folds.iter().map(|fold| fold.exchanges).collect();
    assert_eq!(counts, [2, 2, 2]);
    let starts = out
        .folds
        .iter()
        .map(|fold| fold.first_at_unix_ns - EPOCH_UNIX_NS);
    let starts: Vec<_> = starts.map(|ns| ns / S as i64).collect();
    assert_eq!(starts, [38, 10, 41]);
}

#[test]
fn without_room_the_oldest_window_ends_early_and_nothing_is_lost() {
    let two = Settings {
        max_folds: 2,
        ..settings()
    };
    let (mut fold, mut out) = (fold(two), Out::default());
    for (client, at) in [(1, 1), (2, 1), (1, 2), (1, 50), (1, 51), (2, 52)] {
        let found = exchange(Match::Basic, client, at * S);
        fold.add(found, now(52 * S), &mut out.take());
        assert!(fold.open().0 <= 2);
    }
    assert_eq!(fold.shares().table_full, 2, "both of the first window");
    assert!(fold.finish(10, &mut out.take()));
    let folded: u64 = out.folds.iter().map(|fold| fold.exchanges).sum();
    assert_eq!(folded + out.whole.len() as u64, 6);
}

#[test]
fn too_many_different_values_end_a_fold() {
    let (mut fold, mut out) = (fold(settings()), Out::default());
    for n in 0..10_000_u32 {
        let mut found = exchange(Match::Basic, 1, S);
        let response = found.exchange.response.as_mut().unwrap();
        response.content.header.reference_id = n;
        fold.add(found, now(S), &mut out.take());
    }
    assert!(fold.finish(10, &mut out.take()));
    assert!(
        out.folds
            .iter()
            .all(|fold| fold.value.len() <= MAX_FOLD_VALUES)
    );
    assert_eq!(fold.shares().fold_full + 1, out.folds.len() as u64);
    assert_eq!(
        out.folds.iter().map(|fold| fold.exchanges).sum::<u64>(),
        10_000
    );
}

#[test]
fn a_fold_of_as_many_exchanges_as_a_server_takes_ends() {
    let (mut fold, mut out) = (fold(settings()), Out::default());
    let found = exchange(Match::Basic, 1, S);
    for _ in 0..=MAX_FOLD_EXCHANGES {
        fold.fold(found.clone(), &mut out.take());
    }
    assert_eq!(out.folds[0].exchanges, u64::from(MAX_FOLD_EXCHANGES));
    assert_eq!(fold.open(), (1, 1));
}

#[test]
fn what_deserves_it_stays_whole_until_there_is_too_much_of_it() {
    let leap = |at_ns| {
        let mut found = exchange(Match::Basic, 1, at_ns);
        let response = found.exchange.response.as_mut().unwrap();
        response.content.header.leap = 1;
        found
    };
    let kiss = |at_ns| {
        let mut found = exchange(Match::Basic, 1, at_ns);
        let header = &mut found.exchange.response.as_mut().unwrap().content.header;
        header.stratum = 0;
        header.reference_id = u32::from_be_bytes(*b"RATE");
        found
    };
    let make: [(&str, Make<'_>); 5] = [
        ("leap", &leap),
        ("kiss", &kiss),
        ("refused", &|at| exchange(Match::Refused, 1, at)),
        ("symmetric", &|at| exchange(Match::Symmetric, 1, at)),
        ("broadcast", &|at| exchange(Match::Broadcast, 1, at)),
    ];
    for (name, make) in make {
        let (mut fold, mut out) = (fold(settings()), Out::default());
        for n in 0..5000 {
            fold.add(make(S + n), now(S), &mut out.take());
        }
        assert!(fold.finish(10, &mut out.take()));
        assert_eq!((out.whole.len(), out.folds.len()), (1000, 1), "{name}");
        assert_eq!(out.folds[0].exchanges, 4000, "{name}");
        assert_eq!(fold.shares().notable_folded, 4000, "{name}");
        if name == "kiss" {
            let found = &out.folds[0];
            assert_eq!((found.kisses, found.kiss_code.as_str()), (4000, "RATE"));
            let last = EPOCH_UNIX_NS + (S + 4999 + MS) as i64;
            assert_eq!(found.kissed_at_unix_ns, last);
        }
    }
}

#[test]
fn packets_too_many_stay_whole() {
    let (mut fold, mut out) = (fold(settings()), Out::default());
    for kind in Match::ALL.into_iter().filter(|kind| kind.is_extra()) {
        fold.add(exchange(kind, 1, S), now(S), &mut out.take());
        fold.add(exchange(kind, 1, S), now(S), &mut out.take());
    }
    assert_eq!((out.whole.len(), fold.open().0), (10, 0));
}

#[test]
fn a_server_that_does_not_know_folds_gets_exchanges_only() {
    let mut fold = Fold::new(settings(), 0);
    let mut out = Out::default();
    fold.add(exchange(Match::Basic, 1, S), now(S), &mut out.take());
    fold.set_server_stores_folds(true);
    fold.add(exchange(Match::Basic, 1, S), now(S), &mut out.take());
    fold.set_server_stores_folds(false);
    fold.add(exchange(Match::Basic, 1, S), now(S), &mut out.take());
    assert_eq!((out.whole.len(), fold.open()), (2, (1, 1)));
}

#[test]
fn a_high_rate_switches_to_folds_and_a_low_one_back() {
    let automatic = Settings {
        detail: Detail::Automatic,
        above: 1000,
        ..settings()
    };
    let (mut fold, mut out) = (fold(automatic), Out::default());
    let mut added = 0;
    let mut run = |fold: &mut Fold, seconds: std::ops::Range<u64>, rate: u64| {
        for second in seconds {
            for n in 0..rate {
                let at = second * S + n * S / rate;
                let client = (n % 50) as u8;
                fold.add(exchange(Match::Basic, client, at), now(at), &mut out.take());
                added += 1;
            }
            fold.due(now((second + 1) * S), &mut out.take());
        }
        (out.whole.len(), fold.is_folding())
    };
    let (calm, folding) = run(&mut fold, 100..110, 100);
    assert_eq!((calm, folding), (1000, false));
    let (flooded, folding) = run(&mut fold, 110..200, 3000);
    assert!(folding);
    assert!(flooded < calm + 3 * 3000, "{flooded}: folds within seconds");
    let (_, folding) = run(&mut fold, 200..320, 100);
    assert!(!folding);
    let before = out.whole.len();
    let mut after = 0;
    for n in 0..100 {
        fold.add(
            exchange(Match::Basic, 1, 320 * S + n),
            now(320 * S + n),
            &mut out.take(),
        );
        after += 1;
    }
    assert_eq!(out.whole.len(), before + after, "each by itself again");
    assert!(fold.finish(usize::MAX, &mut out.take()));
    let folded: u64 = out.folds.iter().map(|fold| fold.exchanges).sum();
    assert_eq!(folded + out.whole.len() as u64, added + after as u64);
    assert!(
        out.folds.len() < 1000,
        "{} folds of {folded}",
        out.folds.len()
    );
}

#[test]
fn whatever_comes_each_exchange_is_in_one_record_and_every_sum_is_the_same() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let settings = Settings {
            window: Duration::from_secs([1, 60, 300, 3600][random.random_range(0..4)]),
            max_folds: random.random_range(1..40),
            ..settings()
        };
        let (mut fold, mut out) = (fold(settings), Out::default());
        let mut added = Vec::new();
        let mut at_ns = 100 * S;
        for _ in 0..random.random_range(1..2000) {
            at_ns += random.random_range(0..S);
            let behind = random.random_range(0..10 * S);
            let kind = Match::ALL[random.random_range(0..Match::ALL.len())];
            let mut found = exchange(kind, random.random_range(1..12), at_ns - behind);
            found.measured.response_time_ns = found
                .measured
                .response_time_ns
                .map(|_| 10_i64.pow(random.random_range(0..11)));
            if let Some(response) = &mut found.exchange.response {
                let header = &mut response.content.header;
                header.stratum = random.random_range(0..3);
                header.reference_id = u32::from_be_bytes(
                    [*b"RATE", *b"DENY", *b"GPS\0", [0; 4], [9; 4]][random.random_range(0..5)],
                );
            }
            added.push(found.message("eth0"));
            fold.set_server_stores_folds(random.random_bool(0.98));
            fold.add(found, now(at_ns), &mut out.take());
            assert!(fold.open().0 <= settings.max_folds);
            if random.random_bool(0.3) {
                fold.due(now(at_ns), &mut out.take());
            }
        }
        while !fold.finish(random.random_range(1..10), &mut out.take()) {}

        assert_eq!(out.values(), values_of_all(added.iter()), "seed {seed}");
        let shares = fold.shares();
        assert_eq!(shares.whole + shares.folded, added.len() as u64);
        assert_eq!(fold.open(), (0, 0));
        for found in &out.folds {
            check(found, &added, settings.window);
        }
    }
}

/// A fold tells the truth about exchanges that there were.
fn check(found: &NtpFold, added: &[NtpExchange], window: Duration) {
    let newest = found.newest.as_ref().unwrap();
    assert!(added.contains(newest));
    let first = |e: &NtpExchange| match (e.requested_at_unix_ns, e.answered_at_unix_ns) {
        (0, at) | (at, 0) => at,
        (asked, answered) => asked.min(answered),
    };
    let window_ns = window.as_nanos() as i64;
    let last_ns = first(newest);
    assert_eq!(found.first_at_unix_ns / window_ns, last_ns / window_ns);
    assert_eq!(found.first_at_unix_ns / HOUR_NS, last_ns / HOUR_NS);
    assert!(found.first_at_unix_ns <= last_ns && found.exchanges >= 2);
    if let Some(answered) = &found.newest_answered {
        assert!(added.contains(answered));
        assert_eq!(
            (&answered.client, &answered.server),
            (&newest.client, &newest.server)
        );
        assert!(answered.answered_at_unix_ns > newest.answered_at_unix_ns);
    }
    let of = |metric: u32| {
        let parts = found.metric.iter().zip(&found.count);
        let of = parts.filter(move |(m, _)| **m == metric);
        of.map(|(_, count)| u64::from(*count)).sum::<u64>()
    };
    assert_eq!(of(1), found.exchanges);
    assert_eq!(of(4), found.answered);
    assert!(found.kisses <= of(6));
    assert_eq!(found.response_time_min_ns.is_some(), of(7) > 0);
}

#[test]
fn a_fold_takes_little_more_than_one_exchange() {
    let (mut fold, mut out) = (fold(settings()), Out::default());
    let mut random = StdRng::seed_from_u64(1);
    let mut whole = 0;
    for n in 0..60 {
        let mut found = exchange(Match::Basic, 1, n * S / 4);
        // As a network shakes it: half a millisecond to one.
        let random_ns = |random: &mut StdRng| random.random_range(500_000..1_000_000);
        found.measured.response_time_ns = Some(random_ns(&mut random));
        found.measured.offset_ns = Some(random_ns(&mut random));
        whole += found.message("eth0").encoded_len();
        fold.add(found, now(n * S / 4), &mut out.take());
    }
    assert!(fold.finish(1, &mut out.take()));
    let folded = out.folds[0].encoded_len();
    println!(
        "60 exchanges: {whole} octets whole ({} each), {folded} folded ({} each); in memory {} octets a \
         fold and {} of its newest exchange, and {} for each counted value",
        whole / 60,
        folded / 60,
        size_of::<(Key, Folded)>(),
        size_of::<Finding>(),
        size_of::<figures::Counted>(),
    );
    assert!(folded < 2 * whole / 60, "{folded} octets");
}

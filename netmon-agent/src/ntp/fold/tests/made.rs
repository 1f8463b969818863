//! Exchanges that are made, and what comes out of folding them.

use std::{collections::BTreeMap, time::Duration};

use netmon_common::wire::{NtpExchange, NtpFlag, NtpFold, NtpMatch};

use crate::{
    clock::Now,
    ntp::{
        Exchange, Finding, Gate, Match, Measurement, Packet, Vantage,
        fold::{Detail, Fold, Record, Settings, figures::bucket},
        packet::example::{EPOCH_UNIX_NS, MS, request, response},
    },
};

pub fn settings() -> Settings {
    Settings {
        detail: Detail::Folded,
        above: 2000,
        window: Duration::from_secs(60),
        grace: Duration::from_secs(7),
        max_folds: 1000,
    }
}

/// For a server that stores folds.
pub fn fold(settings: Settings) -> Fold {
    let mut fold = Fold::new(settings, 0);
    fold.set_server_stores_folds(true);
    fold
}

pub fn now(at_ns: u64) -> Now {
    Now {
        monotonic_ns: at_ns,
        unix_ns: EPOCH_UNIX_NS + at_ns as i64,
    }
}

/// An exchange of a client that took a millisecond, good unless its kind speaks against that.
pub fn exchange(kind: Match, client: u8, at_ns: u64) -> Box<Finding> {
    let address = |mut packet: Packet<_>, is_request: bool| {
        let end = match is_request {
            true => &mut packet.source,
            false => &mut packet.destination,
        };
        end.set_ip([192, 0, 2, client].into());
        packet
    };
    let question = address(request(at_ns, 40_000, at_ns), true);
    let answer = address(response(at_ns + MS, 40_000, at_ns), false);
    let exchange = match kind {
        Match::Unanswered | Match::SensorStopped | Match::Refused | Match::DuplicateRequest => {
            Exchange::of_request(kind, question)
        }
        Match::Broadcast | Match::OriginMismatch | Match::UnsolicitedResponse => {
            Exchange::of_response(kind, answer)
        }
        _ => Exchange::of_pair(kind, question, answer),
    };
    let is_good = matches!(kind, Match::Basic | Match::Interleaved);
    let measured = Measurement {
        response_time_ns: exchange.response.map(|_| MS as i64),
        server_processing_ns: is_good.then_some(20_000),
        offset_ns: is_good.then_some(-30_000),
        vantage: Some(Vantage::Server),
        gate: is_good.then_some(Gate::Good),
        ..Measurement::default()
    };
    Box::new(Finding {
        exchange,
        measured,
        association: None,
        client_view: None,
    })
}

/// What came out, as the server gets it.
#[derive(Debug, Default)]
pub struct Out {
    pub whole: Vec<NtpExchange>,
    pub folds: Vec<NtpFold>,
}

impl Out {
    pub fn take(&mut self) -> impl FnMut(Record) + '_ {
        |record| match record {
            Record::Exchange(finding) => self.whole.push(finding.message("eth0")),
            Record::Fold(folded) => self.folds.push(folded.message("eth0")),
        }
    }

    /// How many exchanges had which value, in both.
    pub fn values(&self) -> BTreeMap<(u32, i64), u64> {
        let mut sum = BTreeMap::new();
        for exchange in &self.whole {
            for value in values_of(exchange) {
                *sum.entry(value).or_default() += 1;
            }
        }
        for fold in &self.folds {
            for ((metric, value), count) in fold.metric.iter().zip(&fold.value).zip(&fold.count) {
                *sum.entry((*metric, *value)).or_default() += u64::from(*count);
            }
        }
        sum
    }
}

/// The counted values of one exchange, by its message alone, as the server's SQL has them.
fn values_of(exchange: &NtpExchange) -> Vec<(u32, i64)> {
    let mut values = vec![(1, i64::from(exchange.r#match))];
    let Some(response) = exchange.response else {
        return values;
    };
    let is_kiss = response.stratum == 0 && response.mode == 4 && response.reference_id != 0;
    values.extend([
        (2, i64::from(response.stratum)),
        (3, i64::from(response.leap)),
        (4, i64::from(response.version)),
        (
            if is_kiss { 6 } else { 5 },
            i64::from(response.reference_id),
        ),
    ]);
    let in_time = [NtpMatch::Basic, NtpMatch::Interleaved, NtpMatch::Weak];
    if !in_time.contains(&exchange.r#match()) || response.stratum == 0 {
        return values;
    }
    values.extend(exchange.response_time_ns.map(|ns| (7, bucket(ns))));
    if exchange.flags & NtpFlag::Good as u32 != 0 {
        values.extend(exchange.server_processing_ns.map(|ns| (8, bucket(ns))));
        values.extend(exchange.offset_ns.map(|ns| (9, bucket(ns))));
    }
    values
}

pub fn values_of_all<'a>(
    exchanges: impl Iterator<Item = &'a NtpExchange>,
) -> BTreeMap<(u32, i64), u64> {
    let mut sum = BTreeMap::new();
    for value in exchanges.flat_map(values_of) {
        *sum.entry(value).or_default() += 1;
    }
    sum
}

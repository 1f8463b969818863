//! Exchanges counted together as the protocol says, written down apart from the agent's own code.

use std::collections::BTreeMap;

use netmon_common::wire::{NtpExchange, NtpFlag, NtpFold, NtpMatch};

const MINUTE_NS: i64 = 60_000_000_000;

/// When the first packet was seen.
pub fn first_ns(exchange: &NtpExchange) -> i64 {
    let times = [exchange.requested_at_unix_ns, exchange.answered_at_unix_ns];
    times.into_iter().filter(|ns| *ns != 0).min().unwrap()
}

/// One fold for each interface, client, server and minute.
pub fn by_minute(exchanges: &[NtpExchange]) -> Vec<NtpFold> {
    let mut groups: BTreeMap<_, Vec<NtpExchange>> = BTreeMap::new();
    for exchange in exchanges {
        let key = (
            exchange.interface.clone(),
            exchange.client.clone(),
            exchange.server.clone(),
            first_ns(exchange) / MINUTE_NS,
        );
        groups.entry(key).or_default().push(exchange.clone());
    }
    groups.values().map(|group| fold(group)).collect()
}

/// All of them in one.
pub fn fold(exchanges: &[NtpExchange]) -> NtpFold {
    // The last one of equals.
    let newest = exchanges.iter().max_by_key(|e| first_ns(e)).unwrap();
    let answered: Vec<_> = exchanges.iter().filter(|e| e.response.is_some()).collect();
    let newest_answered = answered.iter().max_by_key(|e| e.answered_at_unix_ns);
    let kisses = answered.iter().filter(|e| !e.kiss_code.is_empty());
    let newest_kiss = kisses.clone().max_by_key(|e| e.answered_at_unix_ns);
    let in_time: Vec<_> = answered.iter().filter(|e| is_in_time(e)).collect();
    let good = in_time
        .iter()
        .filter(|e| e.flags & NtpFlag::Good as u32 != 0);
    let times = in_time.iter().filter_map(|e| e.response_time_ns);
    let offsets = good.clone().filter_map(|e| e.offset_ns);
    let mut values = BTreeMap::new();
    for value in exchanges.iter().flat_map(values_of) {
        *values.entry(value).or_insert(0) += 1;
    }
    NtpFold {
        newest: Some(newest.clone()),
        newest_answered: newest_answered
            .filter(|answered| **answered != newest)
            .map(|answered| (*answered).clone()),
        first_at_unix_ns: exchanges.iter().map(first_ns).min().unwrap(),
        exchanges: exchanges.len() as u64,
        answered: answered.len() as u64,
        kisses: kisses.clone().count() as u64,
        kiss_code: newest_kiss.map_or(String::new(), |e| e.kiss_code.clone()),
        kissed_at_unix_ns: newest_kiss.map_or(0, |e| e.answered_at_unix_ns),
        response_time_min_ns: times.clone().min(),
        response_time_max_ns: times.clone().max(),
        response_time_sum_ns: times.sum(),
        server_processing_sum_ns: good.clone().filter_map(|e| e.server_processing_ns).sum(),
        offset_min_ns: offsets.clone().min(),
        offset_max_ns: offsets.clone().max(),
        absolute_offset_sum_ns: offsets.map(i64::unsigned_abs).sum(),
        metric: values.keys().map(|(metric, _)| *metric).collect(),
        value: values.keys().map(|(_, value)| *value).collect(),
        count: values.into_values().collect(),
    }
}

fn is_in_time(exchange: &NtpExchange) -> bool {
    let kinds = [NtpMatch::Basic, NtpMatch::Interleaved, NtpMatch::Weak];
    let stratum = exchange.response.map_or(0, |response| response.stratum);
    kinds.contains(&exchange.r#match()) && stratum != 0
}

fn values_of(exchange: &NtpExchange) -> Vec<(u32, i64)> {
    let mut values = vec![(1, i64::from(exchange.r#match))];
    if let Some(response) = exchange.response {
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
    }
    if is_in_time(exchange) {
        values.extend(exchange.response_time_ns.map(|ns| (7, bucket(ns))));
        if exchange.flags & NtpFlag::Good as u32 != 0 {
            values.extend(exchange.server_processing_ns.map(|ns| (8, bucket(ns))));
            values.extend(exchange.offset_ns.map(|ns| (9, bucket(ns))));
        }
    }
    values
}

fn bucket(ns: i64) -> i64 {
    let bucket = (20.0 * ((ns.abs().max(1) as f64) / 1e4).log10()).floor();
    (bucket as i64).clamp(-1, 120)
}

//! One point: counted values by what they are.

use std::collections::BTreeMap;

use netmon_common::wire::NtpMatch;
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

use crate::{
    api::ntp::histogram::{Histogram, Percentiles},
    store::match_name,
};

/// Reference ids of one point that are named; the most frequent ones.
const MAX_IDS: usize = 20;

/// A row of a roll-up; see `migrations/0005_ntp.sql`.
#[derive(sqlx::FromRow)]
pub struct Row {
    bucket: OffsetDateTime,
    exchanges: i64,
    response_time_min_ns: Option<i64>,
    response_time_max_ns: Option<i64>,
    offset_min_ns: Option<i64>,
    offset_max_ns: Option<i64>,
    metric: Vec<i16>,
    value: Vec<i64>,
    count: Vec<i64>,
}

/// What the exchanges of an hour or a day were.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpPoint)]
pub struct Point {
    #[serde(with = "time::serde::rfc3339")]
    from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    to: OffsetDateTime,
    exchanges: i64,
    /// How many of each match.
    matches: BTreeMap<&'static str, i64>,
    /// Responses by stratum.
    strata: BTreeMap<i64, i64>,
    /// Responses by leap indicator.
    leaps: BTreeMap<i64, i64>,
    /// Responses by NTP version.
    versions: BTreeMap<i64, i64>,
    /// Responses by reference id, 8 hexadecimal digits; the 20 most frequent.
    reference_ids: BTreeMap<String, i64>,
    reference_ids_left_out: usize,
    /// Kisses-o'-death by code.
    kisses: BTreeMap<String, i64>,
    response_time: Percentiles,
    response_time_min_ns: Option<i64>,
    response_time_max_ns: Option<i64>,
    server_processing: Percentiles,
    absolute_offset: Percentiles,
    offset_min_ns: Option<i64>,
    offset_max_ns: Option<i64>,
}

impl Point {
    pub fn new(row: Row, length: Duration) -> Self {
        let parts = row.metric.iter().zip(&row.value).zip(&row.count);
        let of = |metric: i16| {
            let parts = parts.clone();
            let of_metric = parts.filter(move |((of, _), _)| **of == metric);
            of_metric.map(|((_, value), count)| (*value, *count))
        };
        let percentiles = |metric: i16| {
            let mut histogram = Histogram::default();
            of(metric).for_each(|(bucket, count)| histogram.add(bucket, count));
            histogram.percentiles()
        };
        let mut ids: Vec<_> = of(5).collect();
        ids.sort_by_key(|(id, count)| (std::cmp::Reverse(*count), *id));
        Self {
            from: row.bucket,
            to: row.bucket + length,
            exchanges: row.exchanges,
            matches: of(1).map(|(n, count)| (name(n), count)).collect(),
            strata: of(2).collect(),
            leaps: of(3).collect(),
            versions: of(4).collect(),
            reference_ids_left_out: ids.len().saturating_sub(MAX_IDS),
            reference_ids: ids
                .into_iter()
                .take(MAX_IDS)
                .map(|(id, count)| (format!("{id:08x}"), count))
                .collect(),
            kisses: of(6).map(|(id, count)| (kiss(id), count)).collect(),
            response_time: percentiles(7),
            response_time_min_ns: row.response_time_min_ns,
            response_time_max_ns: row.response_time_max_ns,
            server_processing: percentiles(8),
            absolute_offset: percentiles(9),
            offset_min_ns: row.offset_min_ns,
            offset_max_ns: row.offset_max_ns,
        }
    }
}

fn name(number: i64) -> &'static str {
    let number = i32::try_from(number).unwrap_or(0);
    match_name(NtpMatch::try_from(number).unwrap_or(NtpMatch::Unspecified))
}

/// The characters of a kiss code; the digits of one that has none.
fn kiss(id: i64) -> String {
    let octets = (id as u32).to_be_bytes();
    let text = String::from_utf8_lossy(&octets);
    let text = text.trim_end_matches('\0');
    match text.bytes().all(|octet| octet.is_ascii_graphic()) {
        true => text.to_owned(),
        false => format!("{id:08x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roll_up_numbers_matches_as_the_protocol_does() {
        let sql = include_str!("../../../store/rollup/exchanges/figures.sql");
        let list = sql.split("array_position(ARRAY[").nth(1).unwrap();
        let list = list.split(']').next().unwrap();
        let listed: Vec<_> = list
            .split(',')
            .map(|name| name.trim().trim_matches('\''))
            .collect();
        let known = (1..).map_while(|number| NtpMatch::try_from(number).ok());
        let known: Vec<_> = known.map(match_name).collect();
        assert_eq!(listed, known);
    }

    #[test]
    fn kiss_codes_are_shown_as_text() {
        assert_eq!(kiss(0x5241_5445), "RATE");
        assert_eq!(kiss(0x5800_0000), "X");
        assert_eq!(kiss(0x0102_0304), "01020304");
    }
}

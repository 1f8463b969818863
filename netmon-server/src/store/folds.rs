//! NTP exchanges that the agent counted together: one row for each fold.

mod columns;

use netmon_common::wire::{
    ClockState, MAX_FOLD_EXCHANGES, MAX_FOLD_VALUES, NtpExchange, NtpFold, NtpMatch,
};

pub(super) use columns::TARGET;

use super::{
    Invalid, Series,
    exchanges::Checked,
    invalid::{at_most, fit},
    late::Hour,
    observed::ObservedFold,
    rows::{Origin, Rows, Window},
    sightings::{self, Kiss},
};

/// Counted values that a fold names, by their numbers.
pub(super) const MATCH: i16 = 1;
pub(super) const KISS_CODE: i16 = 6;
pub(super) const RESPONSE_TIME: i16 = 7;
pub(super) const PROCESSING: i16 = 8;
pub(super) const ABSOLUTE_OFFSET: i16 = 9;

/// So many exchanges had a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) metric: i16,
    pub(super) value: i64,
    pub(super) count: i32,
}

/// What was checked of a fold and is needed in its column's type.
#[derive(Debug)]
pub(super) struct CheckedFold<'a> {
    pub(super) fold: &'a NtpFold,
    pub(super) newest: Checked<'a>,
    /// The one with the newest response, if that is another one.
    pub(super) answered: Option<Checked<'a>>,
    /// The first packet of the first exchange, microseconds since 1970.
    pub(super) first_us: i64,
    pub(super) exchanges: i32,
    pub(super) answered_count: i32,
    /// How many have a kiss code; the newest one, and when it came.
    pub(super) kisses: i32,
    pub(super) kiss: Option<(Kiss, i64)>,
    pub(super) absolute_offset_sum_ns: i64,
    pub(super) values: Vec<Counted>,
}

/// Appends every fold and notes what it says of its client, or names the first that is invalid.
pub(super) fn encode(
    rows: &mut Rows,
    origin: Origin,
    folds: &[NtpFold],
    clock: Option<ClockState>,
) -> Result<(), Invalid> {
    for (ordinal, fold) in folds.iter().enumerate() {
        let checked = CheckedFold::new(fold, &origin.window)
            .map_err(|invalid| invalid.within(format_args!("ntp_folds[{ordinal}]")))?;
        let out = rows.buffer(Series::Folds);
        columns::row(out, origin, ordinal as i32, &checked, clock);
        rows.touch(Series::Folds, checked.first_us, checked.first_us);
        let is_asked = sightings::seen_folded(rows, &checked);
        rows.observe_fold(ObservedFold::new(&checked, is_asked));
    }
    Ok(())
}

impl<'a> CheckedFold<'a> {
    fn new(fold: &'a NtpFold, window: &Window) -> Result<Self, Invalid> {
        let missing = || Invalid::new("newest", "is missing");
        let newest = fold.newest.as_ref().ok_or_else(missing)?;
        let answered = fold.newest_answered.as_ref();
        if let Some(answered) = answered {
            check_alike(newest, answered)?;
        }
        let check = |exchange| Checked::new(exchange, window);
        let newest = check(newest).map_err(|invalid| invalid.within("newest"))?;
        let answered = answered.map(check).transpose();
        let answered = answered.map_err(|invalid| invalid.within("newest_answered"))?;
        let first_us = first_us(fold, &newest, window)?;
        let exchanges = limited("exchanges", fold.exchanges, MAX_FOLD_EXCHANGES.into())?;
        let answered_count = limited("answered", fold.answered, fold.exchanges)?;
        let kisses = limited("kisses", fold.kisses, fold.answered)?;
        let values = values(fold)?;
        let of_matches = values.iter().filter(|counted| counted.metric == MATCH);
        let counted: i64 = of_matches.map(|counted| i64::from(counted.count)).sum();
        if exchanges == 0 || counted != i64::from(exchanges) {
            let problem = format_args!("{exchanges}, but {counted} matches are counted");
            return Err(Invalid::new("exchanges", problem));
        }
        Ok(Self {
            fold,
            newest,
            answered,
            first_us,
            exchanges,
            answered_count,
            kisses,
            kiss: kiss(fold, window)?,
            absolute_offset_sum_ns: fit("absolute_offset_sum_ns", fold.absolute_offset_sum_ns)?,
            values,
        })
    }

    /// Counts by value of one metric.
    pub(super) fn of(&self, metric: i16) -> impl Iterator<Item = (i64, i32)> {
        let of_metric = self.values.iter().filter(move |c| c.metric == metric);
        of_metric.map(|counted| (counted.value, counted.count))
    }
}

/// Both exchanges that a fold shows are of the same client and server.
fn check_alike(newest: &NtpExchange, answered: &NtpExchange) -> Result<(), Invalid> {
    let key = |e: &NtpExchange| {
        let ends = (e.client.clone(), e.server.clone());
        (e.interface.clone(), e.vlan, e.inner_vlan, ends)
    };
    let problem = if key(newest) != key(answered) {
        "is not of the client and server of newest"
    } else if answered.response.is_none() {
        "has no response"
    } else {
        return Ok(());
    };
    Err(Invalid::new("newest_answered", problem))
}

/// Roll-ups go by hours: a fold belongs to one.
fn first_us(fold: &NtpFold, newest: &Checked<'_>, window: &Window) -> Result<i64, Invalid> {
    let place = "first_at_unix_ns";
    let first_us = window.microseconds(place, fold.first_at_unix_ns)?;
    let problem = if first_us > newest.at_us {
        "is after the newest exchange"
    } else if Hour::of_microseconds(first_us) != Hour::of_microseconds(newest.at_us) {
        "is not of the hour of the newest exchange"
    } else {
        return Ok(first_us);
    };
    Err(Invalid::new(place, problem))
}

fn limited(place: &str, value: u64, limit: u64) -> Result<i32, Invalid> {
    if value > limit {
        return Err(Invalid::new(
            place,
            format_args!("{value} is more than {limit}"),
        ));
    }
    fit(place, value)
}

fn kiss(fold: &NtpFold, window: &Window) -> Result<Option<(Kiss, i64)>, Invalid> {
    if fold.kisses == 0 {
        return Ok(None);
    }
    let at_us = window.microseconds("kissed_at_unix_ns", fold.kissed_at_unix_ns)?;
    let problem = "is no kiss code of up to four printable characters";
    let kiss = Kiss::parse(&fold.kiss_code).ok_or_else(|| Invalid::new("kiss_code", problem))?;
    Ok(Some((kiss, at_us)))
}

fn values(fold: &NtpFold) -> Result<Vec<Counted>, Invalid> {
    let NtpFold {
        metric,
        value,
        count,
        ..
    } = fold;
    if metric.len() > MAX_FOLD_VALUES {
        let problem = format_args!("{} values are more than {MAX_FOLD_VALUES}", metric.len());
        return Err(Invalid::new("metric", problem));
    }
    if (value.len(), count.len()) != (metric.len(), metric.len()) {
        let problem = "has another length than value or count";
        return Err(Invalid::new("metric", problem));
    }
    let parts = metric.iter().zip(value).zip(count).enumerate();
    let counted = parts.map(|(n, ((metric, value), count))| {
        let metric = at_most("metric", *metric, 32_767)? as i16;
        let is_known =
            |value: i64| i32::try_from(value).is_ok_and(|value| NtpMatch::try_from(value).is_ok());
        let value = match metric {
            // A kind that a newer agent knows.
            MATCH if !is_known(*value) => 0,
            RESPONSE_TIME..=ABSOLUTE_OFFSET if !(-1..=120).contains(value) => {
                let problem = format_args!("{value} is no bucket");
                return Err(Invalid::new(format_args!("value[{n}]"), problem));
            }
            _ => *value,
        };
        if *count == 0 {
            return Err(Invalid::new(format_args!("count[{n}]"), "is 0"));
        }
        let count = at_most("count", *count, MAX_FOLD_EXCHANGES)? as i32;
        Ok(Counted {
            metric,
            value,
            count,
        })
    });
    counted.collect()
}

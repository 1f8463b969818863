//! Whether everything is accounted for.

use std::{
    fmt,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    kernel::Counts,
    site::{Absence, INTERFACE, Site, UNSPOOLED},
};

/// The four figures, for messages.
const NAMES: [&str; 4] = ["packets in", "octets in", "packets out", "octets out"];

/// Packets and octets that no frame has although their attachment counted them: the differences
/// between the totals at the end of one frame and at the start of the next.
const OMITTED: &str = "
    WITH frames AS (
        SELECT attachment,
               ingress_total_packets AS p, ingress_total_bytes AS b,
               egress_total_packets AS q, egress_total_bytes AS c,
               (SELECT sum(x) FROM unnest(ingress_packets) x) AS dp,
               (SELECT sum(x) FROM unnest(egress_packets) x) AS dq,
               (SELECT sum(x) FROM unnest(ingress_bytes) x)
                   + (SELECT coalesce(sum(x::int8 << 31), 0) FROM unnest(ingress_bytes_high) x) AS db,
               (SELECT sum(x) FROM unnest(egress_bytes) x)
                   + (SELECT coalesce(sum(x::int8 << 31), 0) FROM unnest(egress_bytes_high) x) AS dc
        FROM bandwidth_stats WHERE interface = 'INTERFACE'
    ), steps AS (
        SELECT p - dp - coalesce(lag(p) OVER w, 0) AS p, b - db - coalesce(lag(b) OVER w, 0) AS b,
               q - dq - coalesce(lag(q) OVER w, 0) AS q, c - dc - coalesce(lag(c) OVER w, 0) AS c
        -- Totals only grow: in their order, every frame begins where the one before ended.
        FROM frames WINDOW w AS (
            PARTITION BY attachment ORDER BY p + b + q + c, p + b + q + c - dp - db - dq - dc)
    )
    SELECT coalesce(sum(p), 0), coalesce(sum(b), 0), coalesce(sum(q), 0), coalesce(sum(c), 0),
           count(*) FILTER (WHERE p < 0 OR b < 0 OR q < 0 OR c < 0)
    FROM steps";

const STORED: &str = "
    SELECT coalesce(sum(ingress_packets), 0), coalesce(sum(ingress_bytes), 0),
           coalesce(sum(egress_packets), 0), coalesce(sum(egress_bytes), 0)
    FROM bandwidth_samples WHERE interface = 'INTERFACE'";

/// Exchanges that are answered, and how many different requests they are about.
const EXCHANGES: &str = "
    SELECT count(*), count(DISTINCT request_transmit_timestamp)
    FROM ntp_exchanges WHERE match = 'basic'";

/// What reading two clocks one after the other may differ.
const EDGE_US: i64 = 20_000;

/// The figures, for people.
#[derive(Debug)]
pub struct Report {
    kernel: Counts,
    stored: Counts,
    omitted: Counts,
    unattached: Counts,
    absences: usize,
    gaps: u64,
    exchanges: u64,
    omissions: u64,
}

/// Checks everything.
///
/// # Errors
/// The first account that does not balance.
pub fn check(site: &mut Site) -> Result<Report> {
    let kernel = site.kernel.now()?;
    let stored: Counts = numbers(site, STORED)?;
    let [p, b, q, c, doubled] = numbers(site, OMITTED)?;
    let omitted = [p, b, q, c];
    ensure!(
        doubled == 0,
        "{doubled} frames begin below where the one before ended"
    );
    let mut unattached = [0; 4];
    for (index, name) in NAMES.iter().enumerate() {
        let known = stored[index] + omitted[index];
        ensure!(
            known <= kernel[index],
            "{name}: {known} known, only {} in the kernel",
            kernel[index]
        );
        unattached[index] = kernel[index] - known;
    }
    let gaps = one(site, "SELECT count(*) FROM sensor_gaps")?;
    if site.pin {
        ensure!(
            unattached == [0; 4],
            "kernel {kernel:?} is not stored {stored:?} plus omitted {omitted:?}"
        );
        ensure!(gaps == 0, "{gaps} gaps although counting never stopped");
    } else {
        explained(site, unattached)?;
        recorded(site)?;
    }
    let [exchanges, distinct] = numbers(site, EXCHANGES)?;
    ensure!(
        exchanges == distinct,
        "{exchanges} exchanges of {distinct} requests"
    );
    ensure!(exchanges > 0, "exchanges were stored");
    let (status, said) = site.audit()?;
    ensure!(status == 0, "the audit ends with {status}: {said}");
    Ok(Report {
        kernel,
        stored,
        omitted,
        unattached,
        absences: site.absences.len(),
        gaps,
        exchanges,
        omissions: one(
            site,
            "SELECT coalesce(sum(batches), 0) FROM ingest_omissions",
        )?,
    })
}

/// What nobody counted passed while no agent was there, or was in the frame a killed one had not
/// finished: not less than the first, and not more than both.
fn explained(site: &Site, unattached: Counts) -> Result<()> {
    let between = |from: Counts, to: Counts| {
        let mut passed = [0; 4];
        for index in 0..4 {
            passed[index] = to[index].saturating_sub(from[index]);
        }
        passed
    };
    let mut least = [0; 4];
    let mut most = [0; 4];
    for absence in &site.absences {
        let Absence {
            ended,
            gone,
            killed,
            spawned,
            watching,
        } = *absence;
        let spooled = if killed {
            ended.checked_sub(UNSPOOLED).unwrap_or(ended)
        } else {
            ended
        };
        let certain = between(site.kernel.after(gone), site.kernel.before(spawned));
        let possible = between(site.kernel.before(spooled), site.kernel.after(watching));
        for index in 0..4 {
            least[index] += certain[index];
            most[index] += possible[index];
        }
    }
    for (index, name) in NAMES.iter().enumerate() {
        let missed = unattached[index];
        ensure!(
            (least[index]..=most[index]).contains(&missed),
            "{name}: {missed} missed, but {} to {} passed without an agent",
            least[index],
            most[index]
        );
    }
    Ok(())
}

/// Every absence lies within a gap of the data. The gap is in the agent's time, which may have been
/// shifted by any of the steps.
fn recorded(site: &Site) -> Result<()> {
    let rows = site.sql(
        "SELECT (extract(epoch FROM from_at) * 1000000)::int8, \
                (extract(epoch FROM to_at) * 1000000)::int8 FROM sensor_gaps",
    )?;
    let mut gaps = Vec::new();
    for row in rows.lines() {
        let (from, to) = row.split_once('|').context("no gap")?;
        gaps.push((from.parse::<i64>()?, to.parse::<i64>()?));
    }
    for absence in &site.absences {
        let [gone_us, spawned_us] = [absence.gone, absence.spawned].map(unix_us);
        let covers = |(from, to): &(i64, i64)| {
            site.shifts_ns.iter().any(|shift_ns| {
                let shift_us = shift_ns / 1000;
                from - shift_us <= gone_us + EDGE_US && to - shift_us >= spawned_us - EDGE_US
            })
        };
        ensure!(
            gaps.iter().any(covers),
            "no gap in {gaps:?} covers the absence {absence:?} ({gone_us} to {spawned_us}), the \
             clock was ahead by {:?} ns",
            site.shifts_ns
        );
    }
    Ok(())
}

/// The machine's own wall clock at a moment, which nobody steps.
fn unix_us(at: Instant) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_micros() as i64 - at.elapsed().as_micros() as i64
}

fn numbers<const N: usize>(site: &Site, sql: &str) -> Result<[u64; N]> {
    let numbers = site.sql_numbers(&sql.replace("INTERFACE", INTERFACE))?;
    numbers
        .try_into()
        .map_err(|row| anyhow::anyhow!("{row:?} are not {N} counts"))
}

fn one(site: &Site, sql: &str) -> Result<u64> {
    Ok(numbers::<1>(site, sql)?[0])
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>14} {:>14} {:>14} {:>14} {:>14}",
            "", NAMES[0], NAMES[1], NAMES[2], NAMES[3]
        )?;
        for (name, counts) in [
            ("kernel", self.kernel),
            ("stored", self.stored),
            ("omitted", self.omitted),
            ("no agent", self.unattached),
        ] {
            let [a, b, c, d] = counts;
            writeln!(f, "{name:>14} {a:>14} {b:>14} {c:>14} {d:>14}")?;
        }
        write!(
            f,
            "{} times without an agent, {} gaps in the data; {} exchanges, each once; {} batches \
             omitted and named; the audit is clean",
            self.absences, self.gaps, self.exchanges, self.omissions
        )
    }
}

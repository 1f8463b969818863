//! What a run has stored, as the REST API tells it.

use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    api::{Api, Page},
    units,
};

/// Pages of 1000 exchanges that are counted.
const MOST_PAGES: u32 = 100;

/// Sums over one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    samples: u64,
    ingress: Carried,
    egress: Carried,
    exchanges: u64,
    answered: u64,
    /// Whether there were more exchanges than are counted.
    more_exchanges: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Carried {
    bytes: u64,
    packets: u64,
}

#[derive(Deserialize)]
struct Point {
    samples: u64,
    ingress: Carried,
    egress: Carried,
}

#[derive(Deserialize)]
struct Exchange {
    #[serde(rename = "match")]
    kind: String,
}

impl Summary {
    /// Asks what `agent` has stored since `since`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn take(api: &Api, agent: &str, since: OffsetDateTime) -> Result<Self> {
        let from = since
            .format(&Rfc3339)
            .context("the clock is beyond year 9999")?;
        let mut summary = Self::default();
        let points: Page<Point> = api.ask(
            &format!("/api/v1/agents/{agent}/bandwidth"),
            &[("from", &from)],
        )?;
        for point in points.items {
            summary.samples += point.samples;
            summary.ingress.add(&point.ingress);
            summary.egress.add(&point.egress);
        }
        summary.count_exchanges(api, agent, &from)?;
        Ok(summary)
    }

    fn count_exchanges(&mut self, api: &Api, agent: &str, from: &str) -> Result<()> {
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut parameters = vec![("agent", agent), ("limit", "1000"), ("from", from)];
            if let Some(cursor) = &cursor {
                parameters.push(("cursor", cursor));
            }
            let page: Page<Exchange> = api.ask("/api/v1/ntp/exchanges", &parameters)?;
            self.exchanges += page.items.len() as u64;
            let answered = page.items.iter().filter(|one| one.kind == "basic");
            self.answered += answered.count() as u64;
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(());
            }
        }
        self.more_exchanges = true;
        Ok(())
    }

    /// # Errors
    /// Unless data flowed from the kernel to the database; the message says what did not.
    pub fn judge(&self, demo: bool) -> Result<()> {
        if self.samples == 0 {
            bail!("no data flowed: not a single sample is stored");
        }
        if self.ingress.packets + self.egress.packets == 0 {
            bail!("no data flowed: no interface carried a packet");
        }
        if demo && self.answered == 0 {
            bail!("no answered NTP exchange is stored");
        }
        Ok(())
    }
}

impl Carried {
    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.packets += other.packets;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stored in this run (from the REST API):")?;
        writeln!(f, "  samples        {}", self.samples)?;
        for (name, carried) in [("received", &self.ingress), ("sent", &self.egress)] {
            let amount = units::bytes(carried.bytes as f64);
            writeln!(
                f,
                "  {name:<14} {} bytes ({amount}) in {} packets",
                carried.bytes, carried.packets
            )?;
        }
        let more = if self.more_exchanges { " or more" } else { "" };
        write!(
            f,
            "  NTP exchanges  {}{more}, {} of them answered",
            self.exchanges, self.answered
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_succeeds_only_if_data_flowed() {
        let packets = |packets| Carried { bytes: 0, packets };
        let cases = [
            (Summary::default(), false, Some("not a single sample")),
            (
                Summary {
                    samples: 9,
                    ..Summary::default()
                },
                false,
                Some("carried a packet"),
            ),
            (
                Summary {
                    samples: 9,
                    ingress: packets(1),
                    ..Summary::default()
                },
                false,
                None,
            ),
            (
                Summary {
                    samples: 9,
                    egress: packets(1),
                    exchanges: 3,
                    ..Summary::default()
                },
                true,
                Some("NTP exchange"),
            ),
            (
                Summary {
                    samples: 9,
                    egress: packets(1),
                    answered: 3,
                    ..Summary::default()
                },
                true,
                None,
            ),
        ];
        for (summary, demo, expected) in cases {
            let judged = summary.judge(demo).err().map(|error| error.to_string());
            match expected {
                Some(part) => assert!(judged.unwrap().contains(part), "{summary:?}"),
                None => assert_eq!(judged, None, "{summary:?}"),
            }
        }
    }
}

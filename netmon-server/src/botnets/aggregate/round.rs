//! A run over several families: one after the other, each by itself.

use std::time::Instant;

use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    counts::Drift,
    rebuild::{RebuildError, rebuild},
    record::Trigger,
};
use crate::botnets::Subject;

/// What became of a family in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BotnetAggregationOutcome)]
pub enum Outcome {
    /// Its statistics are as counted.
    Rebuilt,
    /// It has no nodes: skipped.
    Empty,
    /// It was not rebuilt, and its statistics are as they were.
    Failed,
}

/// One family of a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BotnetFamilyRun)]
pub struct FamilyRun {
    /// Its name.
    pub family: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Nodes that were counted.
    pub nodes: i64,
    /// Their communications.
    pub communications: i64,
    /// Places with nodes: rows of statistics.
    pub places: i64,
    /// How far the statistics were from the count.
    pub drift: Drift,
    /// The end of the active windows; null if nothing was counted.
    #[serde(with = "time::serde::rfc3339::option")]
    pub active_as_of: Option<OffsetDateTime>,
    /// How long it took.
    pub duration_seconds: f64,
    /// Why it failed.
    pub error: Option<String>,
}

/// A run over families.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BotnetAggregationRound)]
pub struct Round {
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// How long it took.
    pub duration_seconds: f64,
    /// Every family of it.
    pub families: Vec<FamilyRun>,
    /// When the next run is; null: this was the only one.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_run_at: Option<OffsetDateTime>,
}

/// Rebuilds these families, one after the other. What fails leaves the others.
pub async fn run(pool: &PgPool, families: &[Subject], trigger: Trigger) -> Round {
    let (started_at, began) = (OffsetDateTime::now_utc(), Instant::now());
    let mut round = Round {
        started_at,
        duration_seconds: 0.0,
        families: Vec::with_capacity(families.len()),
        next_run_at: None,
    };
    for family in families {
        let began = Instant::now();
        let outcome = rebuild(pool, family, trigger).await;
        let mut run = FamilyRun::empty(&family.name);
        match outcome {
            Ok(Some(rebuilt)) => {
                run.outcome = Outcome::Rebuilt;
                run.nodes = rebuilt.nodes;
                run.communications = rebuilt.communications;
                run.places = rebuilt.places;
                run.drift = rebuilt.drift;
                run.active_as_of = Some(rebuilt.active_as_of);
            }
            // Removed between the list and its turn: no nodes, either.
            Ok(None) | Err(RebuildError::FamilyGone) => {}
            Err(error) => {
                run.outcome = Outcome::Failed;
                run.error = Some(error.to_string());
            }
        }
        run.duration_seconds = began.elapsed().as_secs_f64();
        run.tell();
        round.families.push(run);
    }
    round.duration_seconds = began.elapsed().as_secs_f64();
    round
}

impl FamilyRun {
    fn empty(family: &str) -> Self {
        Self {
            family: family.to_owned(),
            outcome: Outcome::Empty,
            nodes: 0,
            communications: 0,
            places: 0,
            drift: Drift::default(),
            active_as_of: None,
            duration_seconds: 0.0,
            error: None,
        }
    }

    fn tell(&self) {
        let (family, nodes, rows) = (&self.family, self.nodes, self.places);
        match self.outcome {
            Outcome::Rebuilt if self.drift.is_none() => tracing::info!(
                family,
                seconds = seconds(self.duration_seconds),
                "statistics rebuilt: {nodes} nodes → {rows} rows"
            ),
            Outcome::Rebuilt => tracing::error!(
                family,
                places = self.drift.places,
                nodes = self.drift.nodes,
                communications = self.drift.communications,
                "statistics were not as counted and are now: {nodes} nodes → {rows} rows"
            ),
            Outcome::Empty => tracing::info!(family, "no nodes: skipped"),
            Outcome::Failed => tracing::error!(
                family,
                error = self.error.as_deref(),
                "statistics not rebuilt; they are as they were"
            ),
        }
    }
}

impl Round {
    /// Families with an outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        let of = |run: &&FamilyRun| run.outcome == outcome;
        self.families.iter().filter(of).count()
    }

    /// Whether no family failed.
    pub fn is_complete(&self) -> bool {
        self.count(Outcome::Failed) == 0
    }

    /// Whether all statistics were as counted.
    pub fn has_drift(&self) -> bool {
        self.families.iter().any(|run| !run.drift.is_none())
    }

    /// The end of the run in the log.
    pub fn tell(&self) {
        let next = match self.next_run_at {
            Some(at) => moment(at),
            None => "none".to_owned(),
        };
        tracing::info!(
            rebuilt = self.count(Outcome::Rebuilt),
            empty = self.count(Outcome::Empty),
            failed = self.count(Outcome::Failed),
            seconds = seconds(self.duration_seconds),
            next_run = next,
            "aggregation: {} of {} families succeeded",
            self.families.len() - self.count(Outcome::Failed),
            self.families.len(),
        );
    }
}

fn seconds(of: f64) -> f64 {
    (of * 1000.0).round() / 1000.0
}

fn moment(at: OffsetDateTime) -> String {
    let second = at.replace_nanosecond(0).unwrap_or(at);
    second
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}

//! `--program-time`: what the programs take per packet, from two reports.

use serde::Serialize;

use super::{Program, Report};

/// What one program did between two reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// Its name.
    pub name: String,
    /// Runs in between.
    pub runs: u64,
    /// Nanoseconds of one, without runs none.
    pub mean_ns: Option<f64>,
}

/// Programs that ran in both reports, by name.
pub fn spent(before: &Report, after: &Report) -> Vec<Spent> {
    let one = |now: &Program| {
        let then = before.programs.iter().find(|then| then.id == now.id)?;
        let runs = now.runs.checked_sub(then.runs)?;
        let time_ns = now.run_time_ns.checked_sub(then.run_time_ns)?;
        Some(Spent {
            name: now.name.clone(),
            runs,
            mean_ns: (runs > 0).then(|| time_ns as f64 / runs as f64),
        })
    };
    after.programs.iter().filter_map(one).collect()
}

//! What was checked, for people and programs.

use std::{fmt::Display, time::Instant};

use serde::Serialize;

/// The result of a self-test.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Every check, in the order in which they were made.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// What to do about it, if it failed.
    pub remedy: Option<String>,
    /// How long it took.
    pub duration_seconds: f64,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Failed,
    /// Not made, since an earlier one failed.
    Skipped,
}

/// What a check found that is as it should be.
pub(super) struct Finding(String);

impl Finding {
    pub(super) fn new(detail: impl Display) -> Self {
        Self(detail.to_string())
    }
}

/// What a check found wrong, and what to do.
pub(super) struct Failure {
    detail: String,
    remedy: String,
}

impl Failure {
    pub(super) fn new(detail: impl Display, remedy: &str) -> Self {
        Self {
            detail: detail.to_string(),
            remedy: remedy.to_owned(),
        }
    }
}

impl Report {
    /// Whether every check was made and went well.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.outcome == Outcome::Ok)
    }

    pub(super) fn add(
        &mut self,
        name: &'static str,
        began: Instant,
        found: Result<Finding, Failure>,
    ) {
        let (outcome, detail, remedy) = match found {
            Ok(Finding(detail)) => (Outcome::Ok, detail, None),
            Err(Failure { detail, remedy }) => (Outcome::Failed, detail, Some(remedy)),
        };
        self.checks.push(Check {
            name,
            outcome,
            detail,
            remedy,
            duration_seconds: began.elapsed().as_secs_f64(),
        });
    }

    /// Those of the checks that were not made are skipped.
    pub(super) fn skip_missing(&mut self, names: &[&'static str]) {
        for name in names {
            if self.checks.iter().all(|check| check.name != *name) {
                self.checks.push(Check {
                    name,
                    outcome: Outcome::Skipped,
                    detail: "not made, since an earlier check failed".to_owned(),
                    remedy: None,
                    duration_seconds: 0.0,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_passes_only_if_every_check_was_made_and_went_well() {
        let mut report = Report::default();
        report.add("one", Instant::now(), Ok(Finding::new("fine")));
        assert!(report.passed());
        report.skip_missing(&["one", "two"]);
        assert_eq!(report.checks.len(), 2);
        assert!(!report.passed(), "what was skipped may not work");
        let mut report = Report::default();
        report.add(
            "one",
            Instant::now(),
            Err(Failure::new("broken", "mend it")),
        );
        assert!(!report.passed());
        assert_eq!(report.checks[0].remedy.as_deref(), Some("mend it"));
    }
}

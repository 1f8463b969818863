//! Somebody else's sensor: a program with a log.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use netmon_lab::{Child, Signal, log, wait_until};

use crate::site::Site;

const PATIENCE: Duration = Duration::from_secs(15);

pub struct Tool {
    child: Child,
    log: PathBuf,
}

impl Tool {
    /// Starts a program and waits until it says `ready`.
    pub fn start(site: &Site, name: &str, mut command: Command, ready: &str) -> Result<Self> {
        let log = site.path(&format!("{name}.log"));
        // What it has said in an earlier round.
        let _ = fs::remove_file(&log);
        log::log_to(&mut command, &log)?;
        let mut tool = Self {
            child: Child::spawn(name, command, Signal::SIGTERM)?,
            log,
        };
        let waited = wait_until(PATIENCE, ready, || {
            if let Ok(Some(status)) = tool.child.exited() {
                return Some(Err(anyhow!("{name} has ended with {status}")));
            }
            tool.said().contains(ready).then_some(Ok(()))
        });
        waited.flatten().with_context(|| tool.said())?;
        Ok(tool)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to end and waits until it has.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        self.child.signal(signal)?;
        self.wait()
    }

    pub fn wait(&mut self) -> Result<()> {
        match self.child.wait_for(PATIENCE)? {
            Some(_) => Ok(()),
            None => bail!("{} does not end", self.child.name()),
        }
    }
}

/// The number that stands before or behind some words, at their last occurrence.
pub fn number(text: &str, words: &str) -> Result<u64> {
    let found = text.rsplit_once(words).and_then(|(before, behind)| {
        let digits = |text: &str| {
            let end = text
                .find(|other: char| !other.is_ascii_digit())
                .unwrap_or(text.len());
            text[..end].parse().ok()
        };
        digits(behind.trim_start_matches([' ', ':', '='])).or_else(|| {
            let word = before.split_whitespace().next_back()?;
            word.parse().ok()
        })
    });
    found.with_context(|| format!("it does not say {words:?}:\n{text}"))
}

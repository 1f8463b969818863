//! PostgreSQL: signals to it, and questions.

use anyhow::Result;
use netmon_lab::{Signal, database, psql, psql_numbers};
use nix::sys::signal::kill;

use super::Site;

impl Site {
    /// Sends a signal to PostgreSQL's first process, if there is one.
    pub fn signal_database(&self, signal: Signal) -> Result<()> {
        if let Ok(postmaster) = database::postmaster(&self.data_dir()) {
            let _ = kill(postmaster, signal);
        }
        Ok(())
    }

    /// Stops every process of PostgreSQL where it is.
    pub fn freeze(&mut self) -> Result<()> {
        let Ok(processes) = database::processes(&self.data_dir()) else {
            return Ok(());
        };
        self.frozen = processes;
        for process in &self.frozen {
            let _ = kill(*process, Signal::SIGSTOP);
        }
        Ok(())
    }

    /// Lets PostgreSQL go on.
    pub fn thaw(&mut self) {
        for process in self.frozen.drain(..) {
            // A backend may have come to its end by then.
            let _ = kill(process, Signal::SIGCONT);
        }
    }

    /// One SQL question to the server's database.
    pub fn sql(&self, sql: &str) -> Result<String> {
        psql(&self.data_dir().join("socket"), sql)
    }

    /// One SQL question that is answered with counts.
    pub fn sql_numbers(&self, sql: &str) -> Result<Vec<u64>> {
        psql_numbers(&self.data_dir().join("socket"), sql)
    }
}

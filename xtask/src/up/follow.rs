//! Following what the agent sees until it is time to stop, as a live view or as plain lines.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Options,
    api::{Api, Live},
    plain::Plain,
    services::Services,
    view::View,
};
use crate::{run_directory::RunDirectory, signals};

/// What a display shows.
pub struct Picture {
    /// Since the agent was started.
    pub elapsed: Duration,
    /// Until the end, where there is one.
    pub remaining: Option<Duration>,
    /// The newest values, or why there are none.
    pub live: Result<Live, String>,
    /// Where to look further, each with a name.
    pub addresses: Vec<(&'static str, String)>,
}

/// Shows pictures.
pub trait Display {
    /// Shows the newest picture.
    ///
    /// # Errors
    /// When the terminal does not take it.
    fn show(&mut self, picture: &Picture) -> Result<()>;

    /// Whether somebody pressed a key that means stop; waits at most `pause`.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    fn wait_for_stop(&mut self, pause: Duration) -> Result<bool>;
}

/// Returns when the time is over or somebody wants to stop.
///
/// # Errors
/// When server or agent ends by itself.
pub fn follow(
    options: &Options,
    directory: &mut RunDirectory,
    services: &mut Services,
) -> Result<()> {
    let api = Api::new(options.http);
    let addresses = addresses(&api, services, directory);
    if !io::stdout().is_terminal() {
        return until_stop(&api, options, services, addresses, &mut Plain::default());
    }
    directory.note_live_view();
    let mut view = View::open()?;
    let outcome = until_stop(&api, options, services, addresses, &mut view);
    drop(view);
    outcome
}

fn until_stop(
    api: &Api,
    options: &Options,
    services: &mut Services,
    addresses: Vec<(&'static str, String)>,
    display: &mut dyn Display,
) -> Result<()> {
    let started = Instant::now();
    let mut picture = Picture {
        elapsed: Duration::ZERO,
        remaining: options.limit,
        live: Err("no values yet".to_owned()),
        addresses,
    };
    let mut next = started;
    loop {
        services.ensure_running()?;
        picture.elapsed = started.elapsed();
        picture.remaining = options
            .limit
            .map(|limit| limit.saturating_sub(picture.elapsed));
        if signals::stop_requested() || picture.remaining == Some(Duration::ZERO) {
            return Ok(());
        }
        if Instant::now() >= next {
            next += Duration::from_secs(1);
            picture.live = api
                .live(services.agent_id())
                .map_err(|error| format!("{error:#}"));
            display.show(&picture)?;
        }
        if display.wait_for_stop(Duration::from_millis(100))? {
            return Ok(());
        }
    }
}

fn addresses(
    api: &Api,
    services: &Services,
    directory: &RunDirectory,
) -> Vec<(&'static str, String)> {
    let base = api.base();
    let agent = services.agent_id();
    let logs: PathBuf = directory.path().join("*.log");
    let mut addresses = vec![
        ("API", format!("{base}/api/v1/agents/{agent}/live")),
        ("docs", format!("{base}/api/docs")),
        ("metrics", format!("{base}/metrics")),
    ];
    if let Some(psql) = services.psql() {
        addresses.push(("SQL", psql));
    }
    addresses.push(("logs", logs.display().to_string()));
    addresses
}

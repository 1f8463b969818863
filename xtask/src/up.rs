//! `up`: server, database and agent on this host, and a live view of what they see.

mod api;
mod follow;
mod plain;
mod ports;
mod services;
mod summary;
mod units;
mod view;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Result, anyhow};
use time::OffsetDateTime;

use self::{api::Api, services::Services, summary::Summary};
use crate::{
    build::{self, Profile, Programs},
    run_directory::RunDirectory,
    setup::{self, needs},
    signals,
    workspace::{require_root, state_directory},
};

/// Names the directory that `up` owns, for `down` to find.
pub const STATE: &str = "up";

/// What `up` can be told.
#[derive(clap::Args)]
pub struct Options {
    /// Add a small network with NTP traffic and watch it too
    #[arg(long)]
    demo: bool,
    /// End by itself after this time, as in 60s, 5m or 2h; fails unless data flowed
    #[arg(long = "for", value_name = "DURATION", value_parser = units::parse_duration)]
    limit: Option<Duration>,
    /// Build with optimisations
    #[arg(long)]
    release: bool,
    /// Leave database, certificates and logs for the next `up`; `down` removes them
    #[arg(long)]
    keep: bool,
    /// Where the REST API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where agents connect (UDP)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    quic: SocketAddr,
    /// Where the agent's own metrics are
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9642")]
    agent_metrics: SocketAddr,
}

/// Runs the command.
///
/// # Errors
/// When something needed is missing or something started ends by itself.
pub fn run(options: &Options) -> Result<ExitCode> {
    require_root(STATE, "it loads programs into the kernel")?;
    let mut directory = RunDirectory::claim(STATE, state_directory(STATE))?;
    let programs = prepare(options)?;
    ports::ensure_free(options)?;
    signals::catch()?;
    if options.keep {
        directory.keep()?;
    }
    let outcome = run_services(options, &mut directory, &programs);
    if directory.is_kept() {
        let path = directory.path().display();
        println!("kept {path} (`cargo xtask down` removes it)");
    }
    directory.close()?;
    let summary = outcome?;
    println!("all is stopped\n{summary}");
    if options.limit.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    summary.judge(options.demo)?;
    Ok(ExitCode::SUCCESS)
}

fn prepare(options: &Options) -> Result<Programs> {
    let mut groups = vec![needs::BUILD, needs::RUN];
    if options.demo {
        groups.push(needs::DEMO);
    }
    setup::ensure(&groups)?;
    build::programs(if options.release {
        Profile::Release
    } else {
        Profile::Debug
    })
}

/// From the start of everything to its end, in order, whatever happens in between.
fn run_services(
    options: &Options,
    directory: &mut RunDirectory,
    programs: &Programs,
) -> Result<Summary> {
    let mut services = Services::new(directory.path());
    let outcome = start_and_follow(options, directory, programs, &mut services);
    println!("stopping the agent, which hands over what is not stored yet");
    services.stop_agent();
    let summary = outcome.and_then(|since| {
        Summary::take(&Api::new(options.http), services.agent_id(), since).map_err(|error| {
            anyhow!(
                "cannot tell what was stored: {error:#}{}",
                services.last_words("server")
            )
        })
    });
    println!("stopping server and database");
    services.stop();
    summary
}

/// Returns when the agent was started.
fn start_and_follow(
    options: &Options,
    directory: &mut RunDirectory,
    programs: &Programs,
    services: &mut Services,
) -> Result<OffsetDateTime> {
    services.start(options, directory, programs)?;
    let since = OffsetDateTime::now_utc();
    services.start_agent(options, directory, programs)?;
    follow::follow(options, directory, services)?;
    Ok(since)
}

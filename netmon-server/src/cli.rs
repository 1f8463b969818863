//! The command line of `netmon-server`.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    commands::{
        self,
        database::{self, Place},
    },
    config::{self, Config, Log, LogFormat, Overrides},
    pki, serve,
};

/// Receives what netmon agents measure, stores it in PostgreSQL and serves it over REST and
/// Prometheus
#[derive(Debug, Parser)]
#[command(name = "netmon-server", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Serve),
    /// Make the identity with which one agent may connect: ca.pem, agent.pem and agent-key.pem
    IssueAgent(IssueAgent),
    /// Give the agent whose identity lies in a directory a new certificate, valid for a year
    RenewAgent(RenewAgent),
    /// Prove from the data that nothing is lost and nothing doubled; exit status 0 if the books
    /// balance, 1 if they do not, 2 if that could not be checked
    Audit(Audit),
    /// Look at the batches that were set aside because they can never be stored
    Refusals(Refusals),
    /// Count the statistics of botnets afresh, compare and replace them
    Aggregate(Aggregate),
    /// Botnets: logs in from files, families, audit and repair
    Botnet(Botnet),
    /// Check database, tables, geo files, and one family from the first line to its statistics; exit
    /// status 0 if everything works, 1 if not, 2 if that could not be checked
    SelfTest(SelfTest),
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    overrides: Overrides,
    /// Check the configuration and exit: 0 if it is usable, 1 if not
    #[arg(long, conflicts_with = "dump_config")]
    check_config: bool,
    /// Print the configuration as TOML, secrets redacted, and exit
    #[arg(long)]
    dump_config: bool,
}

#[derive(Debug, Args)]
struct IssueAgent {
    /// The agent's name for people, 1 to 64 characters
    alias: String,
    /// Directory to write the three files to; made if missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    source: Source,
    /// Directory of the certificates and the managed database
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RenewAgent {
    /// Directory with its agent.pem; agent.pem and agent-key.pem are replaced
    out: PathBuf,
    #[command(flatten)]
    source: Source,
    /// Directory of the certificates and the managed database
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Audit {
    #[command(flatten)]
    what: commands::audit::Question,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Refusals {
    #[command(subcommand)]
    what: commands::refusals::Refusals,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Aggregate {
    #[command(subcommand)]
    what: commands::aggregate::Aggregate,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Botnet {
    #[command(subcommand)]
    what: commands::botnet::Botnet,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct SelfTest {
    #[command(flatten)]
    what: commands::self_test::Question,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Source {
    /// Configuration file (TOML); environment variables NETMON_SERVER__… and flags win over it
    #[arg(long, value_name = "FILE", env = "NETMON_SERVER_CONFIG")]
    config: Option<PathBuf>,
}

/// Does what the arguments of the process say.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(arguments) => serve(arguments),
        Command::IssueAgent(arguments) => issue_agent(arguments),
        Command::RenewAgent(arguments) => renew_agent(arguments),
        Command::Audit(arguments) => return audit(arguments),
        Command::Refusals(arguments) => refusals(arguments),
        Command::Aggregate(arguments) => return verdict(aggregate(arguments)),
        Command::Botnet(arguments) => return botnet(arguments),
        Command::SelfTest(arguments) => return verdict(self_test(arguments)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netmon-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Serve) -> anyhow::Result<()> {
    let config = config::load(arguments.source.config, arguments.overrides)?;
    if arguments.check_config {
        println!("the configuration is usable");
        return Ok(());
    }
    if arguments.dump_config {
        print!("{}", config.to_toml()?);
        return Ok(());
    }
    start_log(&config.log)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(run(config));
    // A name lookup or file write that hangs must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn run(config: Config) -> anyhow::Result<()> {
    Ok(serve::serve(config, until_told()?).await?)
}

/// Cancelled by SIGTERM or SIGINT; a second one ends the process at once.
fn until_told() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let shutdown = CancellationToken::new();
    let watcher = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if watcher.is_cancelled() {
                // The kernel stops the managed database when this process is gone.
                tracing::warn!("a second signal: exits at once");
                std::process::exit(130);
            }
            tracing::info!("shutting down");
            watcher.cancel();
        }
    });
    Ok(shutdown)
}

fn issue_agent(arguments: IssueAgent) -> anyhow::Result<()> {
    let overrides = Overrides {
        data_dir: arguments.data_dir,
        ..Overrides::default()
    };
    let config = config::load(arguments.source.config, overrides)?;
    let id = pki::issue_agent(&config.data_dir, &arguments.alias, &arguments.out)?;
    println!("{id}");
    Ok(())
}

fn renew_agent(arguments: RenewAgent) -> anyhow::Result<()> {
    let overrides = Overrides {
        data_dir: arguments.data_dir,
        ..Overrides::default()
    };
    let config = config::load(arguments.source.config, overrides)?;
    let id = pki::renew_agent(&config.data_dir, &arguments.out)?;
    println!("{id}");
    Ok(())
}

fn audit(arguments: Audit) -> ExitCode {
    let outcome = || -> anyhow::Result<bool> {
        let config = arguments.place.config()?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        runtime.block_on(async {
            let pool = database::open(&config).await?;
            let mut out = std::io::stdout().lock();
            commands::audit::run(&pool, arguments.what, &mut out).await
        })
    };
    verdict(outcome())
}

/// Of a command that finds out something: yes, no, or that it could not.
fn verdict(outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("netmon-server: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn aggregate(arguments: Aggregate) -> anyhow::Result<bool> {
    use commands::aggregate::{self, Aggregate};
    let config = arguments.place.config()?;
    if let Aggregate::Daemon(_) = arguments.what {
        start_log(&config.log)?;
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let pool = database::open(&config).await?;
        let outcome = match arguments.what {
            Aggregate::Once(once) => {
                let mut out = std::io::stdout().lock();
                aggregate::once(&pool, once, &mut out).await
            }
            Aggregate::Daemon(daemon) => {
                let stop = until_told()?;
                let ended = aggregate::daemon(&pool, daemon, &config.botnets, stop).await;
                ended.map(|()| true)
            }
        };
        pool.close().await;
        outcome
    })
}

fn botnet(arguments: Botnet) -> ExitCode {
    use commands::botnet::{self, Botnet};
    // An audit that cannot be made is not one that found something.
    let is_audit = matches!(arguments.what, Botnet::Audit(_));
    let outcome = || -> anyhow::Result<bool> {
        let config = arguments.place.config()?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let outcome = runtime.block_on(async {
            let pool = database::open(&config).await?;
            let mut out = std::io::stdout().lock();
            botnet::run(pool, &config, arguments.what, &mut out).await
        });
        // Standard input that nobody ends must not keep the process.
        runtime.shutdown_background();
        outcome
    };
    match outcome() {
        Err(error) if !is_audit => {
            eprintln!("netmon-server: {error:#}");
            ExitCode::FAILURE
        }
        outcome => verdict(outcome),
    }
}

fn self_test(arguments: SelfTest) -> anyhow::Result<bool> {
    let config = arguments.place.config()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = until_told()?;
        let mut out = std::io::stdout().lock();
        commands::self_test::run(&config, arguments.what, stop, &mut out).await
    })
}

fn refusals(arguments: Refusals) -> anyhow::Result<()> {
    let config = arguments.place.config()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let pool = database::open(&config).await?;
        let mut out = std::io::stdout().lock();
        commands::refusals::run(&pool, arguments.what, &mut out).await
    })
}

fn start_log(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&log.filter)?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

//! The command line.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use figment::{Figment, providers::Serialized};

use crate::{
    config::{Config, ConfigError, LogFormat},
    doctor,
    run::{self, RunError},
    sensor::{PinError, Pins},
};

/// The netmon agent: counts every packet in the kernel, pairs NTP requests with responses, and
/// streams both to a netmon server.
#[derive(Debug, Parser)]
#[command(name = "netmon-agent", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this host's interfaces until SIGTERM or Ctrl-C.
    Run(RunArguments),
    /// Check kernel, capabilities, interfaces, identity and server, with the remedy for each.
    Doctor(Settings),
    /// Remove what an agent with sensor.pin left in the kernel: nothing counts any more.
    Unpin(Settings),
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    settings: Settings,
    /// Check the configuration and exit.
    #[arg(long)]
    check_config: bool,
    /// Print the configuration in force and exit.
    #[arg(long)]
    dump_config: bool,
}

/// Flags win over NETMON_AGENT__… variables, which win over the file.
#[derive(Debug, Args)]
struct Settings {
    /// TOML configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Server address; repeat it for several, tried in order.
    #[arg(long, value_name = "HOST:PORT")]
    server: Vec<String>,
    /// Folder with ca.pem, agent.pem and agent-key.pem.
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
    /// A name for people; the hostname without it.
    #[arg(long)]
    alias: Option<String>,
    /// Watch interfaces that match this shell pattern; repeatable.
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Do not watch interfaces that match this shell pattern; repeatable.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Loopback address for Prometheus.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_listen: Option<String>,
    /// What to log, such as info or netmon_agent=debug.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl Settings {
    fn load(&self) -> Result<Config, ConfigError> {
        let mut flags = Figment::new();
        let mut set = |key: &str, value: figment::value::Value| {
            flags = std::mem::take(&mut flags).merge(Serialized::default(key, value));
        };
        let texts = [
            (
                "server.identity",
                self.identity
                    .as_ref()
                    .map(|path| path.display().to_string()),
            ),
            ("alias", self.alias.clone()),
            ("metrics.listen", self.metrics_listen.clone()),
            ("log.filter", self.log.clone()),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                set(key, text.into());
            }
        }
        let lists = [
            ("server.addresses", &self.server),
            ("interfaces.include", &self.include),
            ("interfaces.exclude", &self.exclude),
        ];
        for (key, list) in lists {
            if !list.is_empty() {
                set(key, list.clone().into());
            }
        }
        Config::load(self.config.as_ref(), flags)
    }
}

/// Runs the command that was given.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => match start(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("netmon-agent: {error}");
                ExitCode::FAILURE
            }
        },
        Command::Doctor(settings) => match settings.load() {
            Ok(config) => doctor::main(&config),
            Err(error) => {
                eprintln!("netmon-agent: {error}");
                ExitCode::FAILURE
            }
        },
        Command::Unpin(settings) => match unpin(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("netmon-agent: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn unpin(settings: &Settings) -> Result<(), StartError> {
    let directory = settings.load()?.sensor.pin_directory;
    if !directory.exists() {
        println!("nothing is pinned: {} does not exist", directory.display());
        return Ok(());
    }
    let removed = Pins::open(&directory)?.clear()?;
    println!(
        "removed {removed} pinned objects from {}",
        directory.display()
    );
    Ok(())
}

/// Why `run` did not end well.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot write the configuration as TOML: {0}")]
    Dump(#[from] toml::ser::Error),
    #[error("log.filter is not a filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("cannot start the runtime: {0}")]
    Runtime(#[from] std::io::Error),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error(transparent)]
    Run(#[from] RunError),
}

fn start(arguments: &RunArguments) -> Result<(), StartError> {
    let config = arguments.settings.load()?;
    if arguments.dump_config {
        print!("{}", config.to_toml()?);
        return Ok(());
    }
    if arguments.check_config {
        println!("the configuration is valid");
        return Ok(());
    }
    start_logging(&config)?;
    // One thread does it: the kernel does the counting.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(run::run(config));
    // A name look-up that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(result?)
}

fn start_logging(config: &Config) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter: tracing_subscriber::EnvFilter = config.log.filter.parse()?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

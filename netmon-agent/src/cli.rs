//! The command line.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use figment::{Figment, providers::Serialized};

use crate::{
    config::{Config, ConfigError, LogFormat},
    doctor,
    interfaces::Netns,
    replay,
    run::{self, RunError},
    sensor::{PinError, Pins, Sensor},
    status,
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
    /// Ask the running agent how it is. Exit status 0: healthy, 1: with problems, 2: no answer.
    Status(StatusArguments),
    /// Read captures as if their packets had passed an interface: NTP packets, exchanges, flows,
    /// counters and losses.
    Replay(replay::Options),
    /// Remove what agents that do not run have left in the kernel: pinned objects (sensor.pin) and
    /// classic filters. Nothing counts any more.
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

#[derive(Debug, Args)]
struct StatusArguments {
    #[command(flatten)]
    settings: Settings,
    /// A table for people, or one JSON object.
    #[arg(long, value_enum, default_value_t = status::Format::Table)]
    format: status::Format,
    /// Let the kernel measure its BPF programs for so long, and show what each takes per packet.
    /// Needs CAP_SYS_ADMIN, or sysctl kernel.bpf_stats_enabled=1.
    #[arg(long, value_name = "DURATION", value_parser = measured)]
    program_time: Option<Duration>,
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
    /// Watch only interfaces with an address in this prefix, such as 192.0.2.0/24; repeatable.
    #[arg(long, value_name = "PREFIX")]
    interface_cidr: Vec<String>,
    /// Watch the interfaces of this network namespace (ip-netns(8)) too; repeatable. Needs
    /// CAP_SYS_ADMIN.
    #[arg(long, value_name = "NAME")]
    interface_namespace: Vec<String>,
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
            ("interfaces.cidr", &self.interface_cidr),
            ("interfaces.namespaces", &self.interface_namespace),
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
        Command::Status(arguments) => match arguments.settings.load() {
            Ok(config) => status::main(&config, arguments.format, arguments.program_time),
            Err(error) => {
                eprintln!("netmon-agent: {error}");
                // 1 would mean that an agent answers.
                ExitCode::from(2)
            }
        },
        Command::Replay(options) => replay::main(&options),
        Command::Unpin(settings) => match unpin(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("netmon-agent: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

/// How long programs may be measured: it costs every packet of the host a little.
fn measured(text: &str) -> Result<Duration, String> {
    let duration: Duration = text
        .parse::<humantime_serde::re::humantime::Duration>()
        .map_err(|error| error.to_string())?
        .into();
    let range = Duration::from_millis(100)..=Duration::from_secs(300);
    if range.contains(&duration) {
        Ok(duration)
    } else {
        Err("it must be 100ms to 5m".to_owned())
    }
}

fn unpin(settings: &Settings) -> Result<(), StartError> {
    let config = settings.load()?;
    start_logging(&config)?;
    let directory = config.sensor.pin_directory;
    if directory.exists() {
        let removed = Pins::open(&directory)?.clear()?;
        println!(
            "removed {removed} pinned objects from {}",
            directory.display()
        );
    } else {
        println!("nothing is pinned: {} does not exist", directory.display());
    }
    let mut swept = Sensor::sweep().map_err(StartError::Sweep)?;
    for name in &config.interfaces.namespaces {
        // Without the name, its filters are gone or nobody finds them.
        let Ok((netns, _)) = Netns::open(name) else {
            continue;
        };
        let inside = netns.inside(Sensor::sweep).map_err(StartError::Sweep)?;
        let inside = inside.map_err(StartError::Sweep)?;
        swept.removed += inside.removed;
        swept.left += inside.left;
    }
    println!(
        "removed {} classic filters that killed agents had left",
        swept.removed
    );
    match swept.left {
        0 => Ok(()),
        left => Err(StartError::FiltersLeft(left)),
    }
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
    #[error("cannot look for filters that killed agents have left: {0}")]
    Sweep(std::io::Error),
    #[error("{0} of them stay, as said above: run this with CAP_NET_ADMIN")]
    FiltersLeft(usize),
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

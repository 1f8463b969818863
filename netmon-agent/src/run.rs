//! `netmon-agent run`: the edge where clocks, kernel and network meet the logic.

mod departed;
mod findings;
mod flows;
mod folds;
mod links;
mod merge;
mod monitoring;
mod named;
mod namespace;
mod observe;
mod place;
mod remembered;
mod report;
mod sensor;
mod sightings;
mod watched;
mod work;

use std::{convert::Infallible, sync::Arc, time::Duration};

use netmon_common::wire::{Hello, Live};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

pub use self::named::OpenError;
use self::{
    named::{Named, News},
    namespace::OWN,
    remembered::Wished,
    work::Work,
};
use crate::{
    clock,
    config::Config,
    interfaces::{Event, Filter, Table, Watch, WatchError},
    metrics::{self, Metrics},
    ntp::Wishes,
    sensor::{LoadError, Pins, Sensor},
    spool::{self, End, Recovered, Spool},
    status::{self, Question, Socket},
    system::Collector,
    uplink::{GaveUp, Identity, IdentityError, Phase, Uplink, WatchList},
    watch::{Joiner, Keeper, ReloadError, Sources, nothing_to_reload},
};

/// How often the agent looks for NTP events without being woken: the kernel stamps them, so they can
/// wait, and looking costs next to nothing.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);

/// A full list of interfaces heals whatever an overrun netlink socket made us miss.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(30);

/// The agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel programs.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// rtnetlink.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Certificate or key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The metrics port.
    #[error("cannot listen on {listen} for metrics: {source}; set metrics.listen to a free port")]
    Metrics {
        /// The address.
        listen: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No server.
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] spool::OpenError),
    /// A defect in the spool.
    #[error("the spool has crashed: what it had not written yet is lost")]
    SpoolCrashed,
    /// No disk has what is left.
    #[error(
        "stopped with {batches} batches ({bytes} bytes) that no server has stored: they are lost; \
         a longer shutdown_timeout gives the server more time, a spool.directory keeps them"
    )]
    Undelivered {
        /// How many.
        batches: u64,
        /// Their size.
        bytes: u64,
    },
    /// The watch list.
    #[error(transparent)]
    WatchList(#[from] ReloadError),
    /// A defect in the uplink.
    #[error("the uplink has crashed: {0}")]
    Uplink(tokio::task::JoinError),
    /// It ended without being asked to.
    #[error("the uplink has ended by itself")]
    UplinkEnded,
    /// Anything else from the operating system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A pattern that `Config::load` should have refused.
    #[error(transparent)]
    Pattern(#[from] glob::PatternError),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Before anything takes long: unasked for, SIGHUP ends a process.
    let hangup = signal(SignalKind::hangup())?;
    let identity = Identity::new(&config.server.identity);
    // A wrong identity is found now, not after the first pause.
    identity.load()?;
    let metrics = Arc::new(Metrics::new());
    let (spool, recovered) = open_spool(&config, epoch(clock::now().unix_ns))?;
    let epoch = spool.lock().epoch();
    let (live_sender, live) = watch::channel(Live::default());
    let (phase, phases) = watch::channel(Phase::Running);
    let directory = config.spool.directory.clone();
    let recalled = directory.as_deref().and_then(remembered::recall);
    let (wishes, mut wished) = watch::channel(Wished::None);
    if let Some(directory) = directory {
        let (recalled, wished) = (recalled.clone(), wished.clone());
        tokio::spawn(async move { remembered::keep(&directory, recalled, wished).await });
    }
    let mut sensor = load_sensor(&config)?;
    let (watch_list, keeper) = watch_list(&config, &mut sensor, &metrics)?;
    let joiner = keeper.as_ref().map(Keeper::joiner);
    let board = keeper.as_ref().map(Keeper::board);
    match keeper {
        Some(keeper) => tokio::spawn(keeper.run(hangup)),
        None => tokio::spawn(nothing_to_reload(hangup)),
    };
    metrics.flows.capacity(config.flows.max_entries);
    let mut sensor_task = Work::new(
        &config,
        recalled.as_ref().map(Wishes::from).unwrap_or_default(),
        (sensor, Table::new(Filter::new(&config.interfaces)?)),
        (spool.clone(), recovered),
        live_sender,
        Arc::clone(&metrics),
    );
    sensor_task.watching(board);
    if let Some(listen) = config.metrics.listen {
        let server = metrics::serve(listen, Arc::clone(&metrics)).await;
        tokio::spawn(server.map_err(|source| RunError::Metrics { listen, source })?);
    }
    let (ask, mut questions) = status::questions();
    let status = listen_for_status(&config, ask).map(tokio::spawn);
    let uplink = Uplink {
        config: config.server.clone(),
        identity,
        hello: hello(&config, epoch),
        spool: spool.clone(),
        live,
        wishes,
        watch_list,
        metrics,
    };
    let mut uplink = tokio::spawn(uplink.run(phases));
    tracing::info!(epoch, "agent started");
    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = &mut uplink => Err(ended.map_or_else(RunError::Uplink, |gave_up| {
            gave_up.map_or(RunError::UplinkEnded, RunError::GaveUp)
        })),
        result = watch_host(&mut sensor_task, &config, joiner, &mut questions, &mut wished) => result,
        _ = spool.ended() => Err(RunError::SpoolCrashed),
    };
    sensor_task.stop();
    tracing::info!("programs detached; handing over what is not stored yet");
    let hand_over = async {
        if !uplink.is_finished() {
            phase.send_replace(Phase::Draining);
            tokio::select! {
                _ = tokio::time::timeout(config.shutdown_timeout, spool.delivered()) => {
                    phase.send_replace(Phase::Closing);
                    let goodbye = tokio::time::timeout(Duration::from_secs(1), &mut uplink);
                    let _ = goodbye.await;
                }
                _ = &mut uplink => {}
            }
        }
        spool.stop().await
    };
    let ended = tokio::select! {
        ended = hand_over => ended,
        never = answer(&sensor_task, &mut questions) => match never {},
    };
    if let Some(status) = status {
        status.abort();
    }
    let (batches, bytes) = spool.status().waiting;
    tracing::info!(batches, bytes, "agent stopped; so much waits in the spool");
    match ended {
        End::Stopped { lost: 0 } => result,
        End::Stopped { lost: batches } => result.and(Err(RunError::Undelivered { batches, bytes })),
        End::Crashed => result.and(Err(RunError::SpoolCrashed)),
    }
}

fn open_spool(config: &Config, epoch: u64) -> Result<(Spool, Recovered), spool::OpenError> {
    let options = spool::Options {
        directory: config.spool.directory.clone(),
        caps: spool::Caps {
            disk_bytes: config.spool.max_bytes,
            memory_bytes: config.spool.memory_bytes,
            max_age: config.spool.max_age,
            segment_bytes: spool::SEGMENT_BYTES,
        },
        sync: config.spool.sync,
    };
    let limits = spool::Limits {
        max_records: config.batch.max_records,
        max_age: config.batch.max_age,
        max_queue_bytes: usize::try_from(config.spool.memory_bytes).unwrap_or(usize::MAX),
    };
    let (spool, recovered) = Spool::open(&options, limits, epoch)?;
    if let Some(previous) = recovered.previous {
        tracing::info!(
            batches = recovered.batches,
            corrupt = recovered.corrupt,
            epoch = previous.epoch,
            clean = previous.clean,
            "found what an earlier run left"
        );
    }
    Ok((spool, recovered))
}

/// A number that no other run of this agent has: the time, and random bits below it for hosts whose
/// clock starts at the same instant at every boot. Fits the 53 bits of a JSON number.
fn epoch(unix_ns: i64) -> u64 {
    let unix_ms = u64::try_from(unix_ns / 1_000_000).unwrap_or(0);
    ((unix_ms << 10) | rand::random_range(1..1 << 10)) & ((1 << 53) - 1)
}

/// The kernel programs, on the maps of an earlier agent if the sensor is pinned.
fn load_sensor(config: &Config) -> Result<Sensor, RunError> {
    let hooks = sensor::hooks(config)?;
    sensor::sweep();
    let settings = &config.sensor;
    let pins = settings.pin.then(|| Pins::open(&settings.pin_directory));
    let pins = pins.transpose().map_err(LoadError::from)?;
    let mut loaded = sensor::classifiers(config, pins)?;
    loaded.set_hooks(hooks);
    Ok(loaded)
}

/// The server's list as far as it is known, if one is taken, and what keeps the watch set in force.
fn watch_list(
    config: &Config,
    sensor: &mut Sensor,
    metrics: &Arc<Metrics>,
) -> Result<(Option<WatchList>, Option<Keeper>), RunError> {
    // Without flows nobody looks at the set.
    let takes_list = config.watch.server && config.flows.enabled;
    if !takes_list && config.watch.file.is_none() {
        return Ok((None, None));
    }
    let directory = config.spool.directory.clone().filter(|_| takes_list);
    let recalled = directory.as_deref().map(crate::watch::recall);
    let (sender, served) = watch::channel(recalled.unwrap_or_default());
    let sources = Sources {
        file: config.watch.file.clone(),
        served,
        directory,
    };
    let maps = sensor.take_watch();
    let keeper = maps.map(|maps| Keeper::start(sources, maps, Arc::clone(metrics)));
    Ok((
        takes_list.then(|| WatchList::new(sender)),
        keeper.transpose()?,
    ))
}

/// The agent works without: a host may have no place for a socket.
fn listen_for_status(
    config: &Config,
    questions: mpsc::Sender<Question>,
) -> Option<impl Future<Output = ()> + use<>> {
    let path = config.status_socket()?;
    let listening = Socket::bind(&path)
        .map_err(|error| error.to_string())
        .and_then(|socket| status::serve(socket, questions).map_err(|error| error.to_string()));
    match listening {
        Ok(serving) => Some(serving),
        Err(error) => {
            tracing::warn!(error, "`netmon-agent status` will find no answer");
            None
        }
    }
}

/// Ticks and events, until something fails.
async fn watch_host(
    work: &mut Work,
    config: &Config,
    joiner: Option<Joiner>,
    questions: &mut mpsc::Receiver<Question>,
    wished: &mut watch::Receiver<Wished>,
) -> Result<(), RunError> {
    let mut links = Watch::open(work.minds_addresses())?;
    let inherited = work.inherited();
    work.interfaces(OWN, links.dump().await?);
    let adopted = work.inherited() < inherited;
    work.account_for_absence(adopted);
    let ticks = |period| {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    };
    let mut drain = ticks(DRAIN_INTERVAL);
    let mut sample = ticks(config.sample_interval);
    let mut report = ticks(config.report_interval);
    let mut reconcile = ticks(RECONCILE_INTERVAL);
    let mut flows = ticks(config.flows.drain_interval);
    let mut host = Collector::start(config.system.interval, config.system.file_systems.clone())?;
    let mut named = Named::new(config, joiner);
    let mut more = false;
    loop {
        tokio::select! {
            // The branches are polled in random order, so a flood gets one turn among others.
            () = std::future::ready(()), if more => {
                more = work.drain();
                tokio::task::yield_now().await;
            }
            readable = work.readable() => {
                readable?;
                more = work.drain();
            }
            _ = drain.tick() => more = work.drain(),
            event = links.next() => match event? {
                Event::Missed => reconcile_all(work, &links).await,
                event => work.interfaces(OWN, event),
            },
            news = named.next() => match news {
                News::Opened(namespace, interfaces) => work.open(*namespace, interfaces),
                News::Failed(name, error) => work.not_opened(name, &error),
                News::Gone(name, number) => work.close(&name, number),
                News::Event(number, event) => work.interfaces(number, event),
            },
            _ = sample.tick() => {
                more = work.drain();
                work.sample();
            }
            collected = host.next() => work.system(collected),
            Ok(()) = wished.changed() => {
                let newest = wished.borrow_and_update().clone();
                newest.iter().for_each(|newest| work.wish(newest));
            }
            _ = report.tick() => work.report(),
            _ = flows.tick() => work.flows(),
            // Whoever asked may have gone.
            Some(question) = questions.recv() => drop(question.send(work.status(false))),
            _ = reconcile.tick() => reconcile_all(work, &links).await,
        }
    }
}

/// Says how the agent is while it ends, until dropped.
async fn answer(work: &Work, questions: &mut mpsc::Receiver<Question>) -> Infallible {
    while let Some(question) = questions.recv().await {
        // Whoever asked may have gone.
        let _ = question.send(work.status(true));
    }
    // Nobody listens.
    std::future::pending().await
}

/// Compares the watched set with all interfaces there are. The next time heals what fails now.
async fn reconcile_all(work: &mut Work, links: &Watch) {
    work.mend();
    match links.dump().await {
        Ok(all) => work.interfaces(OWN, all),
        Err(error) => tracing::warn!(%error, "interfaces not compared"),
    }
}

/// Who this agent is.
pub fn hello(config: &Config, epoch: u64) -> Hello {
    let hostname = hostname::get().map(|name| name.to_string_lossy().into_owned());
    let kernel =
        nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    Hello {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: hostname.unwrap_or_default(),
        alias: config.alias.clone(),
        kernel_release: kernel.unwrap_or_default(),
        epoch,
        streams: Vec::new(),
        watch: None,
    }
}

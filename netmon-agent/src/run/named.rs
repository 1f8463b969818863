//! The named network namespaces that are to be watched too: which of them are there, the way in, and
//! what rtnetlink tells there.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io,
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::Handle,
    sync::mpsc,
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    RECONCILE_INTERVAL,
    namespace::{Namespace, Number, OWN},
    sensor::{classifiers, hooks},
};
use crate::{
    config::Config,
    interfaces::{Event, Filter, Netns, NetnsId, Table, Watch, WatchError},
    sensor::LoadError,
    watch::Joiner,
};

/// Names that came or went without the kernel having told are found after so long.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A namespace that could not be watched is tried again after so long.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Whoever polls it learns of every mount and unmount (proc(5), `/proc/PID/mountinfo`): a name is a
/// mount, and `ip netns delete` unmounts it.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Events of all namespaces that wait for the agent.
const MAX_EVENTS: usize = 1024;

/// Something happened to a wanted namespace.
pub enum News {
    /// It is there, with these interfaces.
    Opened(Box<Namespace>, Event),
    /// It cannot be watched.
    Failed(String, OpenError),
    /// The name is no longer that of the namespace it was.
    Gone(String, Option<Number>),
    /// rtnetlink's word.
    Event(Number, Event),
}

/// A namespace cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// setns(2) takes a capability.
    #[error(
        "network namespace {0} cannot be entered without CAP_SYS_ADMIN: add it to \
         AmbientCapabilities, or take the name out of interfaces.namespaces"
    )]
    NotPermitted(String),
    /// Anything else in the way.
    #[error("network namespace {0} cannot be entered: {1}")]
    Entry(String, io::Error),
    /// The name is one more of a namespace that is watched.
    #[error("{0} is a name of the network namespace {1}: its interfaces are counted there")]
    Twin(String, String),
    /// Its own programs.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its rtnetlink.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// A pattern that `Config::load` should have refused.
    #[error(transparent)]
    Pattern(#[from] glob::PatternError),
}

impl OpenError {
    /// Every cause as a metric label.
    pub const CAUSES: [&'static str; 5] = ["entry", "load", "not_permitted", "rtnetlink", "twin"];

    /// The cause as a metric label.
    pub const fn cause(&self) -> &'static str {
        let [entry, load, not_permitted, rtnetlink, twin] = Self::CAUSES;
        match self {
            Self::Entry(..) => entry,
            Self::Load(_) | Self::Pattern(_) => load,
            Self::NotPermitted(_) => not_permitted,
            Self::Watch(_) => rtnetlink,
            Self::Twin(..) => twin,
        }
    }

    /// What entering the namespace of this name came to.
    pub fn entry(name: &str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) => Self::NotPermitted(name.to_owned()),
            _ => Self::Entry(name.to_owned(), error),
        }
    }
}

/// What is known of a name that is there.
struct Known {
    id: NetnsId,
    state: State,
}

enum State {
    Opening,
    Open {
        number: Number,
        listener: AbortHandle,
    },
    Failed {
        since: Instant,
    },
}

/// What rtnetlink tells of a namespace; `None`: it says no more.
type Told = (Number, Option<Event>);

/// What came of an attempt.
type Attempt = (
    String,
    NetnsId,
    Result<(Namespace, Watch, Event), OpenError>,
);

/// Keeps up with the names.
pub struct Named {
    config: Config,
    joiner: Option<Joiner>,
    own: Option<NetnsId>,
    known: BTreeMap<String, Known>,
    attempts: JoinSet<Attempt>,
    listeners: JoinSet<()>,
    mounts: Option<AsyncFd<File>>,
    looks: tokio::time::Interval,
    told: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    news: VecDeque<News>,
    last_number: Number,
}

impl Named {
    /// Nothing is open yet. Needs a runtime.
    pub fn new(config: &Config, joiner: Option<Joiner>) -> Self {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let is_asked = !config.interfaces.namespaces.is_empty();
        let mounts = is_asked.then(watch_mounts).and_then(|mounts| {
            let found_later = "names of network namespaces are looked for every second only";
            mounts
                .inspect_err(|error| tracing::warn!(%error, "{found_later}"))
                .ok()
        });
        Self {
            config: config.clone(),
            joiner,
            own: NetnsId::own().ok(),
            known: BTreeMap::new(),
            attempts: JoinSet::new(),
            listeners: JoinSet::new(),
            mounts,
            looks,
            told: mpsc::channel(MAX_EVENTS),
            news: VecDeque::new(),
            last_number: OWN,
        }
    }

    /// The next news; never, if no name is wanted. Loses nothing when dropped.
    pub async fn next(&mut self) -> News {
        if self.config.interfaces.namespaces.is_empty() {
            return std::future::pending().await;
        }
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            tokio::select! {
                _ = self.looks.tick() => self.look(),
                () = changed(self.mounts.as_ref()) => self.look(),
                Some(Ok(attempt)) = self.attempts.join_next() => {
                    self.opened(attempt);
                    self.look();
                }
                Some((number, event)) = self.told.1.recv() => match event {
                    Some(event) => return News::Event(number, event),
                    None => self.lost(number),
                },
            }
        }
    }

    /// Compares the wanted names with those there are.
    fn look(&mut self) {
        while self.listeners.try_join_next().is_some() {}
        for name in self.config.interfaces.namespaces.clone() {
            let found = NetnsId::named(&name);
            if self
                .known
                .get(&name)
                .is_some_and(|known| Some(known.id) != found)
            {
                self.let_go(&name);
            }
            let Some(id) = found else { continue };
            let is_due = match self.known.get(&name).map(|known| &known.state) {
                None => true,
                Some(State::Failed { since }) => since.elapsed() >= RETRY_INTERVAL,
                Some(State::Opening | State::Open { .. }) => false,
            };
            // One after the other: verifying programs takes a processor for seconds.
            if is_due && self.attempts.is_empty() {
                self.open(name, id);
            }
        }
    }

    fn open(&mut self, name: String, id: NetnsId) {
        let mut twins = self.known.iter();
        let twin = twins.find(|(other, known)| **other != name && known.id == id);
        let twin = match twin {
            Some((other, _)) => Some(other.clone()),
            None => (self.own == Some(id)).then(|| "the agent runs in".to_owned()),
        };
        if let Some(other) = twin {
            let since = Instant::now();
            let state = State::Failed { since };
            self.known.insert(name.clone(), Known { id, state });
            let error = OpenError::Twin(name.clone(), other);
            return self.news.push_back(News::Failed(name, error));
        }
        self.last_number += 1;
        let number = self.last_number;
        let (config, joiner) = (self.config.clone(), self.joiner.clone());
        let state = State::Opening;
        self.known.insert(name.clone(), Known { id, state });
        self.attempts.spawn(async move {
            let opened = open(number, name.clone(), id, config, joiner).await;
            (name, id, opened)
        });
    }

    fn opened(&mut self, (name, id, result): Attempt) {
        // By now the name may be another's, or nobody's.
        let Some(known) = self.known.get_mut(&name).filter(|known| known.id == id) else {
            return;
        };
        match result {
            Ok((namespace, watch, interfaces)) => {
                let number = namespace.number;
                let listen = listen(number, watch, self.told.0.clone());
                let listener = self.listeners.spawn(listen);
                known.state = State::Open { number, listener };
                let namespace = Box::new(namespace);
                self.news.push_back(News::Opened(namespace, interfaces));
            }
            Err(error) => {
                let since = Instant::now();
                known.state = State::Failed { since };
                self.news.push_back(News::Failed(name, error));
            }
        }
    }

    /// rtnetlink says nothing more: from the start again, with the next look.
    fn lost(&mut self, number: Number) {
        let is_it =
            |known: &Known| matches!(known.state, State::Open { number: n, .. } if n == number);
        let found = self.known.iter().find(|(_, known)| is_it(known));
        if let Some(name) = found.map(|(name, _)| name.clone()) {
            self.let_go(&name);
        }
    }

    /// Nothing of the agent's keeps the namespace alive from here on but what the news' reader drops.
    fn let_go(&mut self, name: &str) {
        let Some(known) = self.known.remove(name) else {
            return;
        };
        let number = match known.state {
            State::Open { number, listener } => {
                listener.abort();
                Some(number)
            }
            State::Opening | State::Failed { .. } => None,
        };
        self.news.push_back(News::Gone(name.to_owned(), number));
    }
}

async fn open(
    number: Number,
    name: String,
    id: NetnsId,
    config: Config,
    joiner: Option<Joiner>,
) -> Result<(Namespace, Watch, Event), OpenError> {
    let entered = spawn_blocking(move || enter(number, &name, id, &config, joiner));
    let (namespace, watch) = entered
        .await
        .map_err(|error| LoadError::Poll(io::Error::other(error)))??;
    let interfaces = watch.dump().await?;
    Ok((namespace, watch, interfaces))
}

/// Loading takes the verifier a while.
fn enter(
    number: Number,
    name: &str,
    id: NetnsId,
    config: &Config,
    joiner: Option<Joiner>,
) -> Result<(Namespace, Watch), OpenError> {
    let (netns, found) = Netns::open(name).map_err(|error| OpenError::entry(name, error))?;
    if found != id {
        let error = io::Error::other("it was replaced just now");
        return Err(OpenError::Entry(name.to_owned(), error));
    }
    let refused = |error| OpenError::entry(name, error);
    netns.inside(super::sensor::sweep).map_err(refused)?;
    let mut sensor = classifiers(config, None)?;
    sensor.set_hooks(hooks(config)?);
    let filter = Filter::new(&config.interfaces)?.within(name);
    let watch_list = joiner
        .zip(sensor.take_watch())
        .map(|(joiner, maps)| joiner.join(maps));
    let runtime = Handle::current();
    let open = || {
        let _runtime = runtime.enter();
        Watch::open(config.interfaces.minds_addresses())
    };
    // Last: what it tells of the time before the list is made would be taken for news.
    let watch = netns.inside(open).map_err(refused)??;
    let name = Some(name.to_owned());
    let table = Table::new(filter);
    let mut namespace = Namespace::new(number, name, netns, sensor, table, config);
    namespace.watch_list = watch_list;
    Ok((namespace, watch))
}

/// Passes on what rtnetlink says, and a full list from time to time, until it is aborted.
async fn listen(number: Number, mut watch: Watch, told: mpsc::Sender<Told>) {
    let mut lists = interval(RECONCILE_INTERVAL);
    lists.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // At once: the namespace was listed just now.
    lists.tick().await;
    loop {
        let event = tokio::select! {
            event = watch.next() => event,
            _ = lists.tick() => Ok(Event::Missed),
        };
        let event = match event {
            Ok(Event::Missed) => watch.dump().await,
            event => event,
        };
        let event = event
            .inspect_err(|error| tracing::warn!(%error, "rtnetlink of a namespace"))
            .ok();
        let is_last = event.is_none();
        if told.send((number, event)).await.is_err() || is_last {
            return;
        }
    }
}

fn watch_mounts() -> io::Result<AsyncFd<File>> {
    let mounts = File::open(MOUNTS)?;
    // SAFETY: the file owns its descriptor and never changes it, and the AsyncFd owns the file.
    let mounts = unsafe { AsyncFd::register_with_interest(mounts, Interest::PRIORITY) };
    Ok(mounts?)
}

/// Returns when something was mounted or unmounted.
async fn changed(mounts: Option<&AsyncFd<File>>) {
    let Some(mounts) = mounts else {
        return std::future::pending().await;
    };
    match mounts.ready(Interest::PRIORITY).await {
        Ok(mut guard) => guard.clear_ready(),
        // The looks every second remain.
        Err(_) => std::future::pending().await,
    }
}

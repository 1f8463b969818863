//! The newest values of every agent, held in memory and never stored.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use netmon_common::{
    ntp::NtpPorts,
    watch::Digest,
    wire::{Live, LiveInterface, SystemSample, system_limits},
};
use time::OffsetDateTime;

use crate::agent_id::AgentId;

/// How long a live frame is current; agents send one every second.
pub const FRESH: Duration = Duration::from_secs(15);

/// Interfaces kept of one frame: bounds what one agent can make the board hold to about 256 kB.
const MAX_INTERFACES: usize = 1024;

/// Causes of loss kept of one frame.
const MAX_CAUSES: usize = 32;

/// Who is connected, and the newest [`Live`] frame of each agent.
#[derive(Debug, Default)]
pub struct LiveBoard {
    agents: RwLock<HashMap<AgentId, Entry>>,
}

/// One agent's newest frame.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The frame, cut to what the board keeps; interface names and causes are safe to show.
    pub live: Arc<Live>,
    /// When it arrived, by the server's wall clock.
    pub received_at: OffsetDateTime,
    /// How long ago it arrived; current while at most [`FRESH`].
    pub age: Duration,
}

#[derive(Debug, Default)]
struct Entry {
    /// The connection that speaks for the agent; `None` while there is none.
    connection: Option<u64>,
    newest: Option<Newest>,
}

/// When an agent sent a frame; later ones are greater. Frames come on streams of their own, and
/// QUIC delivers those in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// The number of the connection it came on.
    pub connection: u64,
    /// The index of its stream.
    pub stream: u64,
}

#[derive(Debug)]
struct Newest {
    sent: Sent,
    live: Arc<Live>,
    received_at: OffsetDateTime,
    received: Instant,
}

impl LiveBoard {
    /// An empty board.
    pub fn new() -> Self {
        Self::default()
    }

    /// `connection`, a number unique in this process, speaks for the agent from now on.
    pub fn connect(&self, agent: AgentId, connection: u64) {
        self.write().entry(agent).or_default().connection = Some(connection);
    }

    /// The connection ended. Nothing changes when a newer one has taken its place.
    pub fn disconnect(&self, agent: AgentId, connection: u64) {
        let mut agents = self.write();
        if let Some(entry) = agents.get_mut(&agent)
            && entry.connection == Some(connection)
        {
            entry.connection = None;
        }
        // What nobody will ask for again goes, so that the board is as large as the fleet.
        agents.retain(|_, entry| entry.connection.is_some() || entry.is_fresh());
    }

    /// Takes a frame in place of the agent's last one, unless that one was sent later.
    ///
    /// Interfaces and causes whose names could not have come from a kernel or an agent of ours, or
    /// that are more than the board keeps, are left out.
    pub fn record(&self, agent: AgentId, sent: Sent, mut live: Live) {
        let mut names = HashSet::new();
        live.interfaces
            .retain(|i| is_interface(i) && names.insert(i.name.clone()));
        live.interfaces.truncate(MAX_INTERFACES);
        let states = live.interfaces.iter_mut().filter_map(|i| i.ntp.as_mut());
        states.for_each(|state| state.ports.truncate(NtpPorts::MAX));
        live.interfaces.shrink_to_fit();
        live.losses.retain(|cause, _| is_cause(cause));
        while live.losses.len() > MAX_CAUSES {
            let surplus = live.losses.keys().max().cloned();
            surplus.and_then(|cause| live.losses.remove(&cause));
        }
        live.system = live.system.map(|host| Box::new(host_of(*host)));
        if let Some(watch) = &mut live.watch {
            watch.digest.truncate(Digest::LENGTH);
            watch.digest.shrink_to_fit();
        }
        let newest = Newest {
            sent,
            live: Arc::new(live),
            received_at: OffsetDateTime::now_utc(),
            received: Instant::now(),
        };
        let mut agents = self.write();
        let entry = agents.entry(agent).or_default();
        if entry.newest.as_ref().is_none_or(|last| last.sent <= sent) {
            entry.newest = Some(newest);
        }
    }

    /// Whether a connection speaks for the agent.
    pub fn is_connected(&self, agent: AgentId) -> bool {
        self.read()
            .get(&agent)
            .is_some_and(|entry| entry.connection.is_some())
    }

    /// Agents with a connection.
    pub fn connected_count(&self) -> usize {
        self.read()
            .values()
            .filter(|entry| entry.connection.is_some())
            .count()
    }

    /// The agent's newest frame, unless it is older than [`FRESH`].
    pub fn newest(&self, agent: AgentId) -> Option<Snapshot> {
        self.read().get(&agent).and_then(Entry::snapshot)
    }

    /// The newest frame of every agent that has one not older than [`FRESH`], by agent.
    pub fn snapshots(&self) -> Vec<(AgentId, Snapshot)> {
        let agents = self.read();
        let mut snapshots: Vec<_> = agents
            .iter()
            .filter_map(|(id, entry)| Some((*id, entry.snapshot()?)))
            .collect();
        snapshots.sort_by_key(|(agent, _)| *agent);
        snapshots
    }

    // Every write leaves the map valid at each step, so a poisoned lock still guards good data.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<AgentId, Entry>> {
        self.agents
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<AgentId, Entry>> {
        self.agents
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Entry {
    fn is_fresh(&self) -> bool {
        self.newest
            .as_ref()
            .is_some_and(|newest| newest.received.elapsed() <= FRESH)
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let newest = self.newest.as_ref()?;
        let age = newest.received.elapsed();
        (age <= FRESH).then(|| Snapshot {
            live: Arc::clone(&newest.live),
            received_at: newest.received_at,
            age,
        })
    }
}

fn is_interface(interface: &LiveInterface) -> bool {
    crate::store::is_interface_name(&interface.name) && interface.attach_mode.len() <= 16
}

/// What the board keeps of a reading: the host as a whole, and parts whose names are safe to show.
fn host_of(mut host: SystemSample) -> SystemSample {
    let mut names = HashSet::new();
    host.file_systems.retain(|mount| {
        crate::store::is_part_name(&mount.mount_point) && names.insert(mount.mount_point.clone())
    });
    host.file_systems.truncate(system_limits::FILE_SYSTEMS);
    names.clear();
    host.temperatures.retain(|temperature| {
        crate::store::is_part_name(&temperature.sensor) && names.insert(temperature.sensor.clone())
    });
    host.temperatures.truncate(system_limits::TEMPERATURES);
    host.file_systems.shrink_to_fit();
    host.temperatures.shrink_to_fit();
    for mount in &mut host.file_systems {
        // Not shown live.
        (mount.device, mount.r#type) = Default::default();
    }
    SystemSample {
        cores: None,
        block_devices: Vec::new(),
        network_errors: None,
        tcp: None,
        ..host
    }
}

fn is_cause(cause: &str) -> bool {
    (1..=32).contains(&cause.len())
        && cause
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str) -> LiveInterface {
        LiveInterface {
            name: name.to_owned(),
            ..LiveInterface::default()
        }
    }

    #[test]
    fn a_connection_that_was_replaced_does_not_disconnect_its_agent() {
        let (board, agent) = (LiveBoard::new(), AgentId::random());
        board.connect(agent, 1);
        board.connect(agent, 2);
        board.disconnect(agent, 1);
        assert!(board.is_connected(agent));
        board.disconnect(agent, 2);
        assert!(!board.is_connected(agent));
        assert_eq!(board.connected_count(), 0);
    }

    #[test]
    fn an_agent_that_left_without_a_frame_is_forgotten() {
        let (board, agent) = (LiveBoard::new(), AgentId::random());
        board.connect(agent, 1);
        board.disconnect(agent, 1);
        assert!(board.read().is_empty());
    }

    #[test]
    fn a_frame_that_was_overtaken_changes_nothing() {
        let (board, agent) = (LiveBoard::new(), AgentId::random());
        let record = |connection, stream| {
            let live = Live {
                ntp_packets: connection * 100 + stream,
                ..Live::default()
            };
            board.record(agent, Sent { connection, stream }, live);
            board.newest(agent).unwrap().live.ntp_packets
        };
        assert_eq!(record(1, 5), 105);
        assert_eq!(record(1, 4), 105);
        assert_eq!(record(1, 6), 106);
        assert_eq!(record(2, 0), 200, "streams of a new connection begin again");
        assert_eq!(record(1, 7), 200);
    }

    #[test]
    fn only_names_that_can_be_labels_are_kept_and_each_once() {
        let (board, agent) = (LiveBoard::new(), AgentId::random());
        let names = [
            "eth0",
            "eth0",
            "",
            "a/b",
            "a\0b",
            "a\nb",
            &"x".repeat(46),
            "veth1",
        ];
        board.record(
            agent,
            Sent::default(),
            Live {
                interfaces: names.into_iter().map(interface).collect(),
                losses: [("ring_full".to_owned(), 1), ("Ring Full".to_owned(), 2)].into(),
                ..Live::default()
            },
        );
        let live = board.newest(agent).unwrap().live;
        let kept: Vec<_> = live.interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(kept, ["eth0", "veth1"]);
        assert_eq!(live.losses, [("ring_full".to_owned(), 1)].into());
    }

    #[test]
    fn a_frame_keeps_no_more_than_the_board_allows() {
        let (board, agent) = (LiveBoard::new(), AgentId::random());
        board.record(
            agent,
            Sent::default(),
            Live {
                interfaces: (0..5000).map(|n| interface(&format!("veth{n}"))).collect(),
                losses: (0..500).map(|n| (format!("cause_{n:03}"), n)).collect(),
                ..Live::default()
            },
        );
        let live = board.newest(agent).unwrap().live;
        assert_eq!(
            (live.interfaces.len(), live.losses.len()),
            (MAX_INTERFACES, MAX_CAUSES)
        );
        assert!(
            live.losses.contains_key("cause_000"),
            "the same causes stay each time"
        );
    }
}

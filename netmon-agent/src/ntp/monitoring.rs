//! What is to be looked at on each interface: as the configuration says, unless something else is
//! wished.

#[cfg(test)]
mod tests;
mod wishes;

use std::{collections::HashMap, time::Duration};

use netmon_common::{
    ntp::NtpPorts,
    packet::PortSet as _,
    wire::{self, NtpMonitoring},
};

pub use self::wishes::Wishes;
use super::Packet;
use crate::clock::Now;

/// Interfaces that are gone and whose terms are remembered for packets still on their way; beyond it
/// all of these are forgotten.
const MAX_GONE: usize = 4096;

/// A capture point: an interface of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tap {
    /// The sensor's own number of the namespace.
    pub namespace: u32,
    /// The interface's index in it.
    pub ifindex: u32,
}

/// What is done about NTP on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Where servers are looked for; none: nothing is looked at.
    pub ports: NtpPorts,
    /// How long a request waits.
    pub timeout: Duration,
}

/// The terms of all interfaces.
#[derive(Debug)]
pub struct Monitoring {
    configured: Terms,
    wishes: Wishes,
    standing: HashMap<Tap, Standing>,
    /// Those of `standing` that are not as configured: mostly none, and then nobody looks.
    exceptions: HashMap<Tap, Terms>,
    /// When any terms changed last, on the monotonic clock: what was captured later needs one look.
    changed_ns: u64,
}

/// What a tap's terms are, and since when.
#[derive(Clone, Copy, Debug)]
struct Standing {
    terms: Terms,
    since: Now,
    /// What was in force until then; `None`: the interface was not watched.
    before: Option<Terms>,
}

/// The terms that the interfaces there are should have.
#[derive(Debug)]
pub struct Plan {
    terms: HashMap<Tap, Terms>,
    /// What the kernel has to look for, by namespace.
    ports: HashMap<u32, NtpPorts>,
    /// Interfaces with a port that finds no room in the kernel.
    crowded: Vec<String>,
}

/// Why nobody looks at a packet; each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unwanted {
    /// Monitoring of its interface is stopped.
    NotMonitored,
    /// To a port that is looked for on other interfaces only.
    OtherPort,
}

impl Unwanted {
    /// Every cause.
    pub const ALL: [Self; 2] = [Self::NotMonitored, Self::OtherPort];

    /// The name used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotMonitored => "not_monitored",
            Self::OtherPort => "other_port",
        }
    }
}

impl Terms {
    /// Whether anything is looked at.
    pub fn is_monitored(&self) -> bool {
        !self.ports.is_empty()
    }

    /// Whether packets between two ports are looked at; the cause if they are not.
    pub fn admit(&self, one: u16, other: u16) -> Result<(), Unwanted> {
        if self.ports.has_either(one, other) {
            Ok(())
        } else if self.is_monitored() {
            Err(Unwanted::OtherPort)
        } else {
            Err(Unwanted::NotMonitored)
        }
    }

    /// Whether something was looked at that these terms leave out.
    fn narrows(&self, before: &Self) -> bool {
        let mut ports = before.ports.as_slice().iter();
        ports.any(|port| !self.ports.contains(*port))
    }
}

impl Monitoring {
    /// As configured, but for what was wished before.
    pub fn new(configured: Terms, wishes: Wishes) -> Self {
        Self {
            configured,
            wishes,
            standing: HashMap::new(),
            exceptions: HashMap::new(),
            changed_ns: 0,
        }
    }

    /// Takes what is wished from now on; [`Self::plan`] says what comes of it.
    pub fn wish(&mut self, wishes: Wishes) {
        self.wishes = wishes;
    }

    /// What is wished.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// Whether a packet is to be looked at; the cause if it is not. One that was captured before the
    /// terms changed, and comes only now, must have passed under terms that let it in too: a start
    /// does not reach back.
    pub fn admit(&self, packet: &Packet) -> Result<(), Unwanted> {
        let (one, other) = packet.ends();
        let tap = packet.scope.tap();
        if packet.hooked_at_ns < self.changed_ns
            && let Some(standing) = self.standing.get(&tap)
            && packet.hooked_at_ns < standing.since.monotonic_ns
            && let Some(before) = standing.before
        {
            before.admit(one.port(), other.port())?;
        }
        self.terms(tap).admit(one.port(), other.port())
    }

    /// The terms in force at a tap.
    pub fn terms(&self, tap: Tap) -> &Terms {
        if self.exceptions.is_empty() {
            return &self.configured;
        }
        self.exceptions.get(&tap).unwrap_or(&self.configured)
    }

    /// Time-outs that are not as configured.
    pub fn timeouts(&self) -> HashMap<Tap, Duration> {
        let others = self.exceptions.iter();
        let others = others.filter(|(_, terms)| terms.timeout != self.configured.timeout);
        others.map(|(tap, terms)| (*tap, terms.timeout)).collect()
    }

    /// The terms that interfaces with these names should have. In each namespace the kernel looks for
    /// as many ports as [`NtpPorts`] holds: the configured ones go first, then those wished for, in
    /// the order of the names.
    pub fn plan<'a>(&self, taps: impl IntoIterator<Item = (Tap, &'a str)>) -> Plan {
        let mut taps: Vec<_> = taps.into_iter().collect();
        taps.sort_by_key(|(tap, name)| (self.wishes.chooses_ports(name), *name, *tap));
        let mut plan = Plan {
            terms: HashMap::new(),
            ports: HashMap::new(),
            crowded: Vec::new(),
        };
        for (tap, name) in taps {
            let wanted = self.wishes.terms(name, self.configured);
            let all = plan.ports.entry(tap.namespace).or_insert(NtpPorts::NONE);
            let ports = grant(all, &wanted.ports);
            if ports != wanted.ports {
                plan.crowded.push(name.to_owned());
            }
            plan.terms.insert(tap, Terms { ports, ..wanted });
        }
        plan
    }

    /// Whether a plan changes anything.
    pub fn differs(&self, plan: &Plan) -> bool {
        let mut terms = plan.terms.iter();
        terms.any(|(tap, terms)| self.standing.get(tap).is_none_or(|s| s.terms != *terms))
    }

    /// Whether a plan leaves out what is looked at now.
    pub fn is_narrowed_by(&self, plan: &Plan) -> bool {
        let mut terms = plan.terms.iter();
        terms.any(|(tap, terms)| {
            let before = self.standing.get(tap);
            before.is_some_and(|before| terms.narrows(&before.terms))
        })
    }

    /// Puts a plan in force; gives the taps at which more is looked at than before.
    pub fn adopt(&mut self, plan: &Plan, now: Now) -> Vec<Tap> {
        if self.standing.len() > plan.terms.len() + MAX_GONE {
            self.standing.retain(|tap, _| plan.terms.contains_key(tap));
        }
        let mut begun = Vec::new();
        for (tap, terms) in &plan.terms {
            let before = self.standing.get(tap).map(|standing| standing.terms);
            if before.is_some_and(|before| before == *terms) {
                continue;
            }
            if before.is_some_and(|before| before.narrows(terms)) {
                begun.push(*tap);
            }
            let begins = Standing {
                terms: *terms,
                since: now,
                before,
            };
            self.standing.insert(*tap, begins);
            self.changed_ns = now.monotonic_ns;
        }
        let others = self.standing.iter();
        let others = others.filter(|(_, standing)| standing.terms != self.configured);
        self.exceptions = others.map(|(tap, s)| (*tap, s.terms)).collect();
        begun
    }

    /// What the server is told of a tap.
    pub fn message(&self, tap: Tap) -> Option<wire::NtpState> {
        let Standing { terms, since, .. } = self.standing.get(&tap)?;
        Some(wire::NtpState {
            monitored: terms.is_monitored(),
            ports: terms.ports.as_slice().iter().map(|p| (*p).into()).collect(),
            timeout_ms: u32::try_from(terms.timeout.as_millis()).unwrap_or(u32::MAX),
            revision: self.wishes.revision(),
            since_unix_ns: since.unix_ns,
        })
    }
}

impl Plan {
    /// What the kernel has to look for in a namespace; `None`: nothing is watched in it.
    pub fn ports(&self, namespace: u32) -> Option<&NtpPorts> {
        self.ports.get(&namespace)
    }

    /// Interfaces on which anything is looked at.
    pub fn monitored(&self) -> usize {
        let terms = self.terms.values();
        terms.filter(|terms| terms.is_monitored()).count()
    }

    /// Interfaces on which not all ports can be looked for.
    pub fn crowded(&self) -> &[String] {
        &self.crowded
    }
}

/// Adds to what the kernel looks for as many ports as there is room for; gives these.
fn grant(all: &mut NtpPorts, wanted: &NtpPorts) -> NtpPorts {
    let mut granted = NtpPorts::NONE;
    for port in wanted.as_slice() {
        if let Some(more) = with(all, *port) {
            *all = more;
            // No more than were wanted.
            granted = with(&granted, *port).unwrap_or(granted);
        }
    }
    granted
}

fn with(ports: &NtpPorts, port: u16) -> Option<NtpPorts> {
    let all = ports.as_slice().iter().copied().chain([port]);
    NtpPorts::new(all).ok()
}

impl From<&NtpMonitoring> for Wishes {
    fn from(message: &NtpMonitoring) -> Self {
        Self::parse(message)
    }
}

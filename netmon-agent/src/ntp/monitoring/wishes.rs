//! What is wished of interfaces, by their names.

use std::{collections::HashMap, time::Duration};

use netmon_common::{
    ntp::NtpPorts,
    wire::{MAX_NTP_WISHES, NTP_TIMEOUT_MS, NtpMonitoring, NtpWish},
};

use super::Terms;

/// All that is wished of an agent. What is not wished is as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    revision: u64,
    interfaces: HashMap<String, Wish>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    monitored: bool,
    ports: Option<NtpPorts>,
    timeout: Option<Duration>,
}

impl Wishes {
    /// Takes a server's word. Of a newer one it may be more than this agent can do: ports that are no
    /// set are as configured, and a time-out out of range is the nearest within.
    pub(super) fn parse(message: &NtpMonitoring) -> Self {
        let wishes = message.interfaces.iter().take(MAX_NTP_WISHES);
        Self {
            revision: message.revision,
            interfaces: wishes
                .map(|wish| (wish.name.clone(), Wish::parse(wish)))
                .collect(),
        }
    }

    /// Which of the wishes there have been they are; 0: there have been none.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Interfaces that are not to be monitored, in order.
    pub fn stopped(&self) -> Vec<&str> {
        let interfaces = self.interfaces.iter();
        let stopped = interfaces.filter(|(_, wish)| !wish.monitored);
        let mut names: Vec<_> = stopped.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Whether it is wished on which ports an interface is monitored.
    pub(super) fn chooses_ports(&self, interface: &str) -> bool {
        let wish = self.interfaces.get(interface);
        wish.is_some_and(|wish| wish.ports.is_some())
    }

    /// The terms of an interface.
    pub(super) fn terms(&self, interface: &str, configured: Terms) -> Terms {
        let Some(wish) = self.interfaces.get(interface) else {
            return configured;
        };
        let ports = match wish {
            Wish {
                monitored: false, ..
            } => NtpPorts::NONE,
            Wish {
                ports: Some(ports), ..
            } => *ports,
            // Whoever starts it wants something to be looked for.
            _ if configured.ports.is_empty() => NtpPorts::default(),
            _ => configured.ports,
        };
        Terms {
            ports,
            timeout: wish.timeout.unwrap_or(configured.timeout),
        }
    }
}

impl Wish {
    fn parse(wish: &NtpWish) -> Self {
        let ports: Option<Vec<u16>> = wish.ports.iter().map(|p| (*p).try_into().ok()).collect();
        let ports = ports.and_then(|ports| NtpPorts::new(ports).ok());
        let timeout_ms = (wish.timeout_ms != 0).then(|| {
            wish.timeout_ms
                .clamp(*NTP_TIMEOUT_MS.start(), *NTP_TIMEOUT_MS.end())
        });
        Self {
            monitored: wish.monitored,
            ports: ports.filter(|ports| !ports.is_empty()),
            timeout: timeout_ms.map(|ms| Duration::from_millis(ms.into())),
        }
    }
}

//! The kernel's own counters of an interface, the measure for ours.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::Namespace;

/// What `/sys/class/net/NAME/statistics` says, since the interface exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatistics {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received, link-layer header included.
    pub rx_bytes: u64,
    /// Packets dropped on reception.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent, link-layer header included.
    pub tx_bytes: u64,
    /// Packets dropped before they were sent.
    pub tx_dropped: u64,
}

impl InterfaceStatistics {
    /// Reads the counters of `interface` inside `place`.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn read(place: &Namespace, interface: &str) -> Result<Self> {
        place.run_inside(|| {
            let directory = Path::new("/sys/class/net")
                .join(interface)
                .join("statistics");
            let counter = |name: &str| -> Result<u64> {
                let path = directory.join(name);
                fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?
                    .trim()
                    .parse()
                    .with_context(|| format!("{} is not a number", path.display()))
            };
            Ok(Self {
                rx_packets: counter("rx_packets")?,
                rx_bytes: counter("rx_bytes")?,
                rx_dropped: counter("rx_dropped")?,
                tx_packets: counter("tx_packets")?,
                tx_bytes: counter("tx_bytes")?,
                tx_dropped: counter("tx_dropped")?,
            })
        })
    }
}

//! What crosses each interface, and how the programs hang there.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use netmon_common::counters::{Counters, Direction, Split};

use super::{Metrics, raise};
use crate::bandwidth::{Flags, Totals};

/// Causes of a failure to attach.
pub(super) const ATTACH_FAILURES: [&str; 8] = [
    "counters_full",
    "gone",
    "name",
    "no_clsact",
    "no_tcx",
    "refused",
    "removed",
    "taken",
];

/// A sample's flags, by the values of their label.
pub(super) const FLAG_NAMES: [(Flags, &str); 3] = [
    (Flags::COUNTER_WENT_BACK, "counter_went_back"),
    (Flags::ABOVE_LINK_SPEED, "above_link_speed"),
    (Flags::CLOCK_STEP, "clock_step"),
];

impl Metrics {
    /// Takes over the running totals of one interface.
    pub fn interface(&self, name: &str, totals: Totals) {
        let directions = [
            (Direction::Ingress, totals.ingress),
            (Direction::Egress, totals.egress),
        ];
        for (
            direction,
            Counters {
                packets,
                bytes,
                wire_packets,
                wire_bytes,
            },
        ) in directions
        {
            let labels = [name, direction.name()];
            raise(&self.interface_packets.with_label_values(&labels), packets);
            raise(&self.interface_bytes.with_label_values(&labels), bytes);
            raise(
                &self.interface_wire_packets.with_label_values(&labels),
                wire_packets,
            );
            raise(
                &self.interface_wire_bytes.with_label_values(&labels),
                wire_bytes,
            );
        }
    }

    /// Takes over the same by network and by transport.
    pub fn splits(&self, name: &str, splits: &[Split; 2]) {
        for (direction, split) in Direction::ALL.into_iter().zip(splits) {
            let (networks, transports) = parts(split);
            for (network, counters) in networks {
                let labels = [name, direction.name(), network];
                raise(
                    &self.network_packets.with_label_values(&labels),
                    counters.packets,
                );
                raise(
                    &self.network_bytes.with_label_values(&labels),
                    counters.bytes,
                );
            }
            for (transport, counters) in transports {
                let labels = [name, direction.name(), transport];
                raise(
                    &self.transport_packets.with_label_values(&labels),
                    counters.packets,
                );
                raise(
                    &self.transport_bytes.with_label_values(&labels),
                    counters.bytes,
                );
            }
        }
    }

    /// Forgets an interface, so that a host which makes thousands does not grow the scrape.
    pub fn forget_interface(&self, name: &str) {
        self.flows.forget_interface(name);
        for direction in Direction::ALL {
            let labels = [name, direction.name()];
            for vec in [
                &self.interface_packets,
                &self.interface_bytes,
                &self.interface_wire_packets,
                &self.interface_wire_bytes,
            ] {
                // Absent is as good as removed.
                let _ = vec.remove_label_values(&labels);
            }
        }
        let (networks, transports) = parts(&Split::default());
        for direction in Direction::ALL {
            for (network, _) in networks {
                let labels = [name, direction.name(), network];
                let _ = self.network_packets.remove_label_values(&labels);
                let _ = self.network_bytes.remove_label_values(&labels);
            }
            for (transport, _) in transports {
                let labels = [name, direction.name(), transport];
                let _ = self.transport_packets.remove_label_values(&labels);
                let _ = self.transport_bytes.remove_label_values(&labels);
            }
        }
        if let Some(mode) = self.attached().remove(name) {
            let _ = self.attach_modes.remove_label_values(&[name, &mode]);
        }
    }

    /// Says how the programs are attached to an interface.
    pub fn attach_mode(&self, name: &str, mode: &str) {
        if let Some(earlier) = self.attached().insert(name.to_owned(), mode.to_owned()) {
            let _ = self.attach_modes.remove_label_values(&[name, &earlier]);
        }
        self.attach_modes.with_label_values(&[name, mode]).set(1);
    }

    fn attached(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Whoever panicked has left a whole map.
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure to attach.
    pub fn attach_failure(&self, cause: &str) {
        self.attach_failures.with_label_values(&[cause]).inc();
    }

    /// Failures to attach so far, by cause.
    pub fn attach_failures(&self) -> [(&'static str, u64); ATTACH_FAILURES.len()] {
        ATTACH_FAILURES.map(|cause| {
            (
                cause,
                self.attach_failures.with_label_values(&[cause]).get(),
            )
        })
    }

    /// Counts a sample's flags.
    pub fn flags(&self, flags: Flags) {
        for (flag, cause) in FLAG_NAMES {
            if flags.0 & flag.0 != 0 {
                self.samples_flagged.with_label_values(&[cause]).inc();
            }
        }
    }
}

type Part = (&'static str, Counters);

/// Networks and transports with what belongs to each, by the values of their labels.
fn parts(split: &Split) -> ([Part; 3], [Part; 4]) {
    (
        [
            ("ipv4", split.ipv4),
            ("ipv6", split.ipv6),
            ("other", split.other),
        ],
        [
            ("tcp", split.tcp),
            ("udp", split.udp),
            ("icmp", split.icmp),
            ("other", split.other_transport),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_appears_and_goes() {
        let metrics = Metrics::new();
        let ingress = Counters::from_words([3, 300, 4, 400]);
        metrics.interface(
            "eth0",
            Totals {
                ingress,
                ..Totals::default()
            },
        );
        let line =
            "netmon_agent_interface_wire_bytes_total{direction=\"ingress\",interface=\"eth0\"} 400";
        assert!(metrics.render().contains(line));
        metrics.splits("eth0", &[Split::default(); 2]);
        metrics.attach_mode("eth0", "tcx");
        metrics.attach_mode("eth0", "clsact");
        let text = metrics.render();
        let mode = |mode| format!("attach_mode{{interface=\"eth0\",mode=\"{mode}\"}} 1");
        assert!(
            text.contains(&mode("clsact")) && !text.contains(&mode("tcx")),
            "{text}"
        );
        metrics.forget_interface("eth0");
        assert!(!metrics.render().contains("eth0"));
    }
}

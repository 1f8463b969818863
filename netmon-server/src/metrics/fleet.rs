//! The agents' own running totals, computed from the live board at every scrape.

use netmon_common::{
    loss::Loss,
    wire::{Counters, Live, LiveInterface},
};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, proto::MetricFamily};

use crate::live::LiveBoard;

use super::{REGISTERED, register};

/// Series of every agent whose newest frame is current. An agent that fell silent has none, so
/// that Prometheus sees its series end instead of standing still.
pub(super) fn gather(live: &LiveBoard, max_interface_series: usize) -> Vec<MetricFamily> {
    let series = Series::new();
    series.connected.set(live.connected_count() as i64);
    let snapshots = live.snapshots();
    let wanted: Vec<_> = snapshots
        .iter()
        .map(|(_, snapshot)| snapshot.live.interfaces.len())
        .collect();
    let shares = shares(&wanted, max_interface_series);
    for ((agent, snapshot), share) in snapshots.iter().zip(shares) {
        let agent = agent.to_string();
        series.agent(&agent, &snapshot.live);
        series.interfaces(&agent, &snapshot.live.interfaces, share);
    }
    series.registry.gather()
}

/// How many of `max` everybody gets of what they want: nobody less than an equal share, unless they
/// want less, and what those leave goes to the others in equal shares.
pub(super) fn shares(wanted: &[usize], max: usize) -> Vec<usize> {
    let mut modest_first: Vec<_> = (0..wanted.len()).collect();
    modest_first.sort_by_key(|index| wanted[*index]);
    let mut shares = vec![0; wanted.len()];
    let (mut left, mut waiting) = (max, wanted.len());
    for index in modest_first {
        shares[index] = wanted[index].min(left / waiting);
        left -= shares[index];
        waiting -= 1;
    }
    shares
}

/// The value of the label `cause`: what an agent calls its losses must not make series at will.
fn cause(name: &str) -> &'static str {
    let mut known = Loss::ALL.into_iter().map(Loss::name);
    known.find(|known| *known == name).unwrap_or("other")
}

struct Series {
    registry: Registry,
    connected: IntGauge,
    surplus: IntGauge,
    ingress: Direction,
    egress: Direction,
    losses: IntCounterVec,
    exchanges: IntCounterVec,
    unanswered: IntCounterVec,
    outbox_batches: IntGaugeVec,
    outbox_bytes: IntGaugeVec,
}

struct Direction {
    packets: IntCounterVec,
    bytes: IntCounterVec,
}

impl Series {
    fn new() -> Self {
        let registry = Registry::new();
        let agent = &["agent"];
        Self {
            connected: single(
                &registry,
                "netmon_server_agents_connected",
                "Agents with a connection.",
            ),
            surplus: single(
                &registry,
                "netmon_server_interfaces_without_series",
                "Interfaces beyond metrics.max_interface_series, which have no series of their own.",
            ),
            ingress: Direction::new(&registry, "ingress", "received"),
            egress: Direction::new(&registry, "egress", "sent"),
            losses: counters(
                &registry,
                "netmon_server_agent_losses_total",
                "Packets or records the agent could not account for, by cause.",
                &["agent", "cause"],
            ),
            exchanges: counters(
                &registry,
                "netmon_server_agent_ntp_exchanges_total",
                "NTP exchanges the agent recorded.",
                agent,
            ),
            unanswered: counters(
                &registry,
                "netmon_server_agent_ntp_unanswered_total",
                "NTP requests without a response in time.",
                agent,
            ),
            outbox_batches: gauges(
                &registry,
                "netmon_server_agent_outbox_batches",
                "Batches that wait at the agent for the server.",
                agent,
            ),
            outbox_bytes: gauges(
                &registry,
                "netmon_server_agent_outbox_bytes",
                "Octets of batches that wait at the agent for the server.",
                agent,
            ),
            registry,
        }
    }

    fn agent(&self, agent: &str, live: &Live) {
        self.exchanges
            .with_label_values(&[agent])
            .inc_by(live.ntp_exchanges);
        self.unanswered
            .with_label_values(&[agent])
            .inc_by(live.ntp_unanswered);
        self.outbox_batches
            .with_label_values(&[agent])
            .set(live.outbox_batches as i64);
        self.outbox_bytes
            .with_label_values(&[agent])
            .set(live.outbox_bytes as i64);
        for (name, count) in &live.losses {
            self.losses
                .with_label_values(&[agent, cause(name)])
                .inc_by(*count);
        }
    }

    fn interfaces(&self, agent: &str, interfaces: &[LiveInterface], share: usize) {
        let (shown, surplus) = interfaces.split_at(share);
        for interface in shown {
            let labels = [agent, interface.name.as_str()];
            self.ingress.add(&labels, interface.ingress_total);
            self.egress.add(&labels, interface.egress_total);
        }
        self.surplus.add(surplus.len() as i64);
    }
}

impl Direction {
    fn new(registry: &Registry, direction: &str, verb: &str) -> Self {
        let labels = &["agent", "interface"];
        let name = |unit: &str| format!("netmon_interface_{direction}_{unit}_total");
        Self {
            packets: counters(
                registry,
                &name("packets"),
                &format!("Packets {verb} since the sensor attached to the interface."),
                labels,
            ),
            bytes: counters(
                registry,
                &name("bytes"),
                &format!("Octets {verb} since the sensor attached to the interface."),
                labels,
            ),
        }
    }

    fn add(&self, labels: &[&str; 2], total: Option<Counters>) {
        let total = total.unwrap_or_default();
        self.packets.with_label_values(labels).inc_by(total.packets);
        self.bytes.with_label_values(labels).inc_by(total.bytes);
    }
}

fn single(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(
        registry,
        IntGauge::with_opts(Opts::new(name, help)).expect(REGISTERED),
    )
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(
        registry,
        IntGaugeVec::new(Opts::new(name, help), labels).expect(REGISTERED),
    )
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(
        registry,
        IntCounterVec::new(Opts::new(name, help), labels).expect(REGISTERED),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent_id::AgentId, live::Sent, metrics::Metrics};

    fn board(agents: i64, interfaces: usize) -> LiveBoard {
        let board = LiveBoard::new();
        for agent in 1..=agents {
            let interfaces = (0..interfaces).map(|n| LiveInterface {
                name: format!("eth{n}"),
                ingress_total: Some(Counters {
                    packets: 7,
                    bytes: 900,
                    ..Counters::default()
                }),
                ..LiveInterface::default()
            });
            board.record(
                AgentId::from_bigint(agent),
                Sent::default(),
                Live {
                    interfaces: interfaces.collect(),
                    ntp_exchanges: 5,
                    losses: [("ring_full", 3), ("made_up", 4), ("other", 5)]
                        .map(|(cause, count)| (cause.to_owned(), count))
                        .into(),
                    ..Live::default()
                },
            );
        }
        board
    }

    #[test]
    fn running_totals_of_agents_are_shown() {
        let text = Metrics::new().render(&board(1, 1), 10);
        for line in [
            "netmon_interface_ingress_bytes_total{agent=\"0000000000000001\",interface=\"eth0\"} 900",
            "netmon_interface_egress_packets_total{agent=\"0000000000000001\",interface=\"eth0\"} 0",
            "netmon_server_agent_losses_total{agent=\"0000000000000001\",cause=\"ring_full\"} 3",
            "netmon_server_agent_losses_total{agent=\"0000000000000001\",cause=\"other\"} 9",
            "netmon_server_agent_ntp_exchanges_total{agent=\"0000000000000001\"} 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert!(!text.contains("made_up"), "{text}");
    }

    #[test]
    fn an_agent_with_many_interfaces_leaves_the_others_their_share() {
        assert_eq!(shares(&[1000, 3, 2], 10), [5, 3, 2]);
        assert_eq!(shares(&[1000, 0, 1000], 10), [5, 0, 5]);
        assert_eq!(shares(&[1, 2], 10), [1, 2]);
        assert_eq!(shares(&[4, 4, 4], 2).iter().sum::<usize>(), 2);
        assert!(shares(&[], 10).is_empty());
    }

    #[test]
    fn interfaces_beyond_the_bound_are_counted_instead_of_shown() {
        let text = Metrics::new().render(&board(3, 4), 10);
        let shown = text
            .lines()
            .filter(|l| l.starts_with("netmon_interface_ingress_bytes_total{"));
        assert_eq!(shown.count(), 10);
        assert!(
            text.lines()
                .any(|l| l == "netmon_server_interfaces_without_series 2")
        );
    }
}

//! NTP exchanges that were stored.

mod active;
mod durations;
mod servers;

use std::{net::IpAddr, time::Duration};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use self::{active::Active, durations::Durations, servers::Servers};
use super::{REGISTERED, counter, gauge, labels, register};
use crate::{
    agent_id::AgentId,
    store::{Kiss, Observed, ObservedFold},
};

/// Kiss codes (RFC 5905, figure 13; RFC 8915); any other is `other`.
const KISSES: [&str; 16] = [
    "ACST", "AUTH", "AUTO", "BCST", "CRYP", "DENY", "DROP", "RSTR", "INIT", "MCST", "NKEY", "NTSN",
    "RATE", "RMOT", "STEP", "other",
];

/// So long a client or server counts as active after it was seen, at least; at most twice as long.
const ACTIVE: Duration = Duration::from_secs(300);

/// What was stored of NTP.
#[derive(Debug)]
pub struct Ntp {
    received: IntCounter,
    folded: IntCounter,
    exchanges: IntCounterVec,
    response_time: Durations,
    processing: Durations,
    offset: Durations,
    kisses: IntCounterVec,
    active_clients: IntGauge,
    active_servers: IntGauge,
    active: Active,
    servers: Servers,
}

impl Ntp {
    pub(super) fn new(registry: &Registry) -> Self {
        let exchanges = Opts::new(
            "netmon_server_ntp_exchanges_total",
            "NTP exchanges stored, by agent, mode and match.",
        );
        let exchanges =
            IntCounterVec::new(exchanges, &["agent", "mode", "match"]).expect(REGISTERED);
        Self {
            received: counter(
                registry,
                "netmon_server_ntp_received_total",
                "NTP exchanges in batches that came, stored before or not.",
            ),
            folded: counter(
                registry,
                "netmon_server_ntp_folded_total",
                "Of the exchanges stored, those that agents counted together.",
            ),
            exchanges: register(registry, exchanges),
            response_time: Durations::new(
                registry,
                "netmon_server_ntp_response_time_seconds",
                "From request to response at the sensor.",
                None,
            ),
            processing: Durations::new(
                registry,
                "netmon_server_ntp_processing_seconds",
                "From receive to transmit timestamp, by the server's clock.",
                None,
            ),
            offset: Durations::new(
                registry,
                "netmon_server_ntp_absolute_offset_seconds",
                "How far the server's clock and the sensor's are apart.",
                None,
            ),
            kisses: labels::vector(
                registry,
                "netmon_server_ntp_kisses_total",
                "Kisses-o'-death, by code.",
                "code",
                &KISSES,
            ),
            active_clients: gauge(
                registry,
                "netmon_server_ntp_active_clients",
                "Clients seen in the last five to ten minutes, estimated to within a few per cent.",
            ),
            active_servers: gauge(
                registry,
                "netmon_server_ntp_active_servers",
                "Servers asked in the last five to ten minutes, estimated to within a few per cent.",
            ),
            active: Active::new(ACTIVE),
            servers: Servers::new(registry),
        }
    }

    /// Gives these servers series of their own; only the first call counts.
    pub fn show_servers(&self, servers: &[IpAddr]) {
        self.servers.show(servers);
    }

    /// Batches of so many exchanges came.
    pub fn received(&self, exchanges: u64) {
        self.received.inc_by(exchanges);
    }

    /// Exchanges of an agent are durable.
    pub fn stored(&self, agent: AgentId, exchanges: &[Observed]) {
        let agent = agent.to_string();
        for of_kind in exchanges.chunk_by(|a, b| (a.mode, a.matched) == (b.mode, b.matched)) {
            let labels = [agent.as_str(), mode(of_kind[0].mode), of_kind[0].matched];
            let exchanges = self.exchanges.with_label_values(&labels);
            exchanges.inc_by(of_kind.len() as u64);
        }
        for exchange in exchanges {
            self.observe(exchange);
        }
        self.active.seen(exchanges.iter().filter_map(|e| e.pair));
    }

    /// Exchanges of an agent that it counted together are durable.
    pub fn stored_folds(&self, agent: AgentId, folds: &[ObservedFold]) {
        if folds.is_empty() {
            return;
        }
        let agent = agent.to_string();
        for fold in folds {
            self.folded.inc_by(fold.exchanges());
            for (of_mode, matched, count) in &fold.counts {
                let labels = [agent.as_str(), mode(*of_mode), *matched];
                self.exchanges.with_label_values(&labels).inc_by(*count);
            }
            self.response_time.add("", &fold.response_time);
            self.processing.add("", &fold.server_processing);
            self.offset.add("", &fold.offset);
            for (kiss, count) in &fold.kisses {
                self.kissed(kiss, *count);
            }
            self.servers.observe_fold(fold);
        }
        self.active.seen(folds.iter().filter_map(|fold| fold.pair));
    }

    fn observe(&self, exchange: &Observed) {
        for (histogram, ns) in [
            (&self.response_time, exchange.response_time_ns),
            (&self.processing, exchange.server_processing_ns),
            (&self.offset, exchange.offset_ns),
        ] {
            if let Some(ns) = ns {
                histogram.observe("", ns);
            }
        }
        if let Some(kiss) = exchange.kiss {
            self.kissed(&kiss, 1);
        }
        self.servers.observe(exchange);
    }

    fn kissed(&self, kiss: &Kiss, count: u64) {
        let known = KISSES.into_iter().find(|known| *known == kiss.as_str());
        let code = known.unwrap_or("other");
        self.kisses.with_label_values(&[code]).inc_by(count);
    }

    /// Brings what changes with time up to date, before it is shown.
    pub(super) fn refresh(&self) {
        let (clients, servers) = self.active.counts();
        self.active_clients.set(clients);
        self.active_servers.set(servers);
    }

    /// Exchanges stored within folds.
    pub fn folded_total(&self) -> u64 {
        self.folded.get()
    }

    /// Exchanges that came.
    pub fn received_total(&self) -> u64 {
        self.received.get()
    }
}

fn mode(mode: u32) -> &'static str {
    const MODES: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    MODES.get(mode as usize).copied().unwrap_or("0")
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

/// 10 us to 10 s, two in three for each doubling and more.
fn buckets() -> Vec<f64> {
    let decade = |exponent: i32| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent));
    let decades = (-5..1).flat_map(decade);
    decades.chain([10.0]).collect()
}

#[cfg(test)]
mod tests {
    use netmon_common::wire::NtpPacket;

    use super::*;
    use crate::{live::LiveBoard, metrics::Metrics, store::Spread};

    fn exchange() -> Observed {
        Observed {
            mode: 4,
            matched: "basic",
            pair: Some(("192.0.2.1".parse().unwrap(), "192.0.2.123".parse().unwrap())),
            kiss: None,
            stratum: Some(2),
            response_time_ns: Some(1_500_000),
            server_processing_ns: Some(20_000),
            offset_ns: Some(-30_000),
        }
    }

    fn kiss(code: [u8; 4]) -> Observed {
        let packet = NtpPacket {
            mode: 4,
            reference_id: u32::from_be_bytes(code),
            ..NtpPacket::default()
        };
        Observed {
            kiss: Kiss::of(&packet),
            offset_ns: None,
            ..exchange()
        }
    }

    #[test]
    fn stored_exchanges_are_counted_by_what_they_are() {
        let metrics = Metrics::new();
        metrics.ntp.show_servers(&["192.0.2.123".parse().unwrap()]);
        let agent = AgentId::from_bigint(1);
        let exchanges = [exchange(), exchange(), kiss(*b"RATE"), kiss(*b"XYZ\0")];
        metrics.ntp.stored(agent, &exchanges);
        let text = metrics.render(&LiveBoard::new(), 10);
        for line in [
            "netmon_server_ntp_exchanges_total{agent=\"0000000000000001\",match=\"basic\",mode=\"4\"} 4",
            "netmon_server_ntp_response_time_seconds_bucket{le=\"0.001\"} 0",
            "netmon_server_ntp_response_time_seconds_bucket{le=\"0.002\"} 4",
            "netmon_server_ntp_absolute_offset_seconds_bucket{le=\"0.00005\"} 2",
            "netmon_server_ntp_kisses_total{code=\"RATE\"} 1",
            "netmon_server_ntp_kisses_total{code=\"DENY\"} 0",
            "netmon_server_ntp_kisses_total{code=\"other\"} 1",
            "netmon_server_ntp_active_clients 1",
            "netmon_server_ntp_active_servers 1",
            "netmon_server_ntp_server_exchanges_total{server=\"192.0.2.123\"} 4",
            "netmon_server_ntp_server_offset_seconds{server=\"192.0.2.123\"} -0.00003",
            "netmon_server_ntp_server_stratum{server=\"192.0.2.123\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn what_agents_counted_together_counts_as_much() {
        let metrics = Metrics::new();
        metrics.ntp.show_servers(&["192.0.2.123".parse().unwrap()]);
        let spread = |bucket, sum_ns| Spread {
            buckets: vec![(bucket, 3000)],
            sum_ns,
        };
        let fold = ObservedFold {
            counts: vec![(4, "basic", 3000), (3, "unanswered", 7)],
            pair: exchange().pair,
            kisses: vec![
                (kiss(*b"RATE").kiss.unwrap(), 2),
                (kiss(*b"XYZ\0").kiss.unwrap(), 1),
            ],
            stratum: Some(2),
            offset_ns: Some(-30_000),
            response_time: spread(43, 4_500_000_000),
            server_processing: spread(6, 60_000_000),
            offset: spread(9, 90_000_000),
        };
        metrics.ntp.stored_folds(AgentId::from_bigint(1), &[fold]);
        let text = metrics.render(&LiveBoard::new(), 10);
        for line in [
            "netmon_server_ntp_exchanges_total{agent=\"0000000000000001\",match=\"basic\",mode=\"4\"} 3000",
            "netmon_server_ntp_exchanges_total{agent=\"0000000000000001\",match=\"unanswered\",mode=\"3\"} 7",
            "netmon_server_ntp_response_time_seconds_bucket{le=\"0.001\"} 0",
            "netmon_server_ntp_response_time_seconds_bucket{le=\"0.002\"} 3000",
            "netmon_server_ntp_folded_total 3007",
            "netmon_server_ntp_response_time_seconds_sum 4.5",
            "netmon_server_ntp_absolute_offset_seconds_bucket{le=\"0.00005\"} 3000",
            "netmon_server_ntp_kisses_total{code=\"RATE\"} 2",
            "netmon_server_ntp_kisses_total{code=\"other\"} 1",
            "netmon_server_ntp_active_clients 1",
            "netmon_server_ntp_server_exchanges_total{server=\"192.0.2.123\"} 3007",
            "netmon_server_ntp_server_response_time_seconds_count{server=\"192.0.2.123\"} 3000",
            "netmon_server_ntp_server_offset_seconds{server=\"192.0.2.123\"} -0.00003",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn only_servers_of_the_list_have_series() {
        let metrics = Metrics::new();
        metrics.ntp.stored(AgentId::from_bigint(1), &[exchange()]);
        let text = metrics.render(&LiveBoard::new(), 10);
        assert!(!text.contains("192.0.2.123"), "{text}");
    }
}

//! NTP exchanges that were stored.

mod active;
mod servers;

use std::{net::IpAddr, time::Duration};

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use self::{active::Active, servers::Servers};
use super::{REGISTERED, counter, gauge, labels, register};
use crate::{agent_id::AgentId, store::Observed};

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
    exchanges: IntCounterVec,
    response_time: Histogram,
    processing: Histogram,
    offset: Histogram,
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
            exchanges: register(registry, exchanges),
            response_time: histogram(
                registry,
                "netmon_server_ntp_response_time_seconds",
                "From request to response at the sensor.",
            ),
            processing: histogram(
                registry,
                "netmon_server_ntp_processing_seconds",
                "From receive to transmit timestamp, by the server's clock.",
            ),
            offset: histogram(
                registry,
                "netmon_server_ntp_absolute_offset_seconds",
                "How far the server's clock and the sensor's are apart.",
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
    pub fn received(&self, exchanges: usize) {
        self.received.inc_by(exchanges as u64);
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

    fn observe(&self, exchange: &Observed) {
        for (histogram, ns) in [
            (&self.response_time, exchange.response_time_ns),
            (&self.processing, exchange.server_processing_ns),
            (&self.offset, exchange.offset_ns),
        ] {
            if let Some(ns) = ns {
                histogram.observe(seconds(ns).abs());
            }
        }
        if let Some(kiss) = exchange.kiss {
            let known = KISSES.into_iter().find(|known| *known == kiss.as_str());
            let code = known.unwrap_or("other");
            self.kisses.with_label_values(&[code]).inc();
        }
        self.servers.observe(exchange);
    }

    /// Brings what changes with time up to date, before it is shown.
    pub(super) fn refresh(&self) {
        let (clients, servers) = self.active.counts();
        self.active_clients.set(clients);
        self.active_servers.set(servers);
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

fn histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    let opts = HistogramOpts::new(name, help).buckets(buckets());
    register(registry, Histogram::with_opts(opts).expect(REGISTERED))
}

#[cfg(test)]
mod tests {
    use netmon_common::wire::NtpPacket;

    use super::*;
    use crate::{live::LiveBoard, metrics::Metrics, store::Kiss};

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
    fn only_servers_of_the_list_have_series() {
        let metrics = Metrics::new();
        metrics.ntp.stored(AgentId::from_bigint(1), &[exchange()]);
        let text = metrics.render(&LiveBoard::new(), 10);
        assert!(!text.contains("192.0.2.123"), "{text}");
    }
}

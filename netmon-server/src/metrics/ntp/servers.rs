//! Series of single servers, for those of a list only: there may be a million.

use std::{collections::HashMap, net::IpAddr, sync::OnceLock};

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::{REGISTERED, buckets, register, seconds};
use crate::store::Observed;

const SERVER: &[&str] = &["server"];

#[derive(Debug)]
pub(super) struct Servers {
    /// Those of the list, with the label of each.
    shown: OnceLock<HashMap<IpAddr, String>>,
    exchanges: IntCounterVec,
    kisses: IntCounterVec,
    response_time: HistogramVec,
    offset: GaugeVec,
    stratum: IntGaugeVec,
}

impl Servers {
    pub(super) fn new(registry: &Registry) -> Self {
        let opts =
            |name: &str, help: &str| Opts::new(format!("netmon_server_ntp_server_{name}"), help);
        let counters = |name: &str, help: &str| {
            let vector = IntCounterVec::new(opts(name, help), SERVER).expect(REGISTERED);
            register(registry, vector)
        };
        let response_time = HistogramOpts::new(
            "netmon_server_ntp_server_response_time_seconds",
            "From request to response at the sensor, of a server of metrics.ntp_servers.",
        );
        let response_time = response_time.buckets(buckets());
        let response_time = HistogramVec::new(response_time, SERVER).expect(REGISTERED);
        let offset = opts(
            "offset_seconds",
            "The newest offset: its clock minus the sensor's.",
        );
        let stratum = opts("stratum", "The newest stratum.");
        Self {
            shown: OnceLock::new(),
            exchanges: counters(
                "exchanges_total",
                "Exchanges of a server of metrics.ntp_servers.",
            ),
            kisses: counters(
                "kisses_total",
                "Kisses-o'-death of a server of metrics.ntp_servers.",
            ),
            response_time: register(registry, response_time),
            offset: register(registry, GaugeVec::new(offset, SERVER).expect(REGISTERED)),
            stratum: register(
                registry,
                IntGaugeVec::new(stratum, SERVER).expect(REGISTERED),
            ),
        }
    }

    pub(super) fn show(&self, servers: &[IpAddr]) {
        let labels = servers.iter().map(|server| (*server, server.to_string()));
        // A second list would make the first one's series stand still.
        let _ = self.shown.set(labels.collect());
    }

    pub(super) fn observe(&self, exchange: &Observed) {
        let (Some((_, server)), Some(shown)) = (exchange.pair, self.shown.get()) else {
            return;
        };
        let Some(label) = shown.get(&server) else {
            return;
        };
        let label = &[label.as_str()];
        self.exchanges.with_label_values(label).inc();
        if exchange.kiss.is_some() {
            self.kisses.with_label_values(label).inc();
        }
        if let Some(ns) = exchange.response_time_ns {
            let histogram = self.response_time.with_label_values(label);
            histogram.observe(seconds(ns));
        }
        if let Some(ns) = exchange.offset_ns {
            self.offset.with_label_values(label).set(seconds(ns));
        }
        if let Some(stratum) = exchange.stratum {
            let gauge = self.stratum.with_label_values(label);
            gauge.set(stratum.into());
        }
    }
}

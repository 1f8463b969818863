//! Series of single servers, for those of a list only: there may be a million.

use std::{collections::HashMap, net::IpAddr, sync::OnceLock};

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{REGISTERED, durations::Durations, register, seconds};
use crate::store::{Observed, ObservedFold};

const SERVER: &[&str] = &["server"];

#[derive(Debug)]
pub(super) struct Servers {
    /// Those of the list, with the label of each.
    shown: OnceLock<HashMap<IpAddr, String>>,
    exchanges: IntCounterVec,
    kisses: IntCounterVec,
    response_time: Durations,
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
        let response_time = Durations::new(
            registry,
            "netmon_server_ntp_server_response_time_seconds",
            "From request to response at the sensor, of a server of metrics.ntp_servers.",
            Some("server"),
        );
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
            response_time,
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
        let Some(label) = self.label(exchange.pair) else {
            return;
        };
        let kisses = exchange.kiss.is_some().into();
        self.count(label, 1, kisses);
        if let Some(ns) = exchange.response_time_ns {
            self.response_time.observe(label, ns);
        }
        self.newest(label, exchange.offset_ns, exchange.stratum);
    }

    pub(super) fn observe_fold(&self, fold: &ObservedFold) {
        let Some(label) = self.label(fold.pair) else {
            return;
        };
        let kisses = fold.kisses.iter().map(|(_, count)| count).sum();
        self.count(label, fold.exchanges(), kisses);
        self.response_time.add(label, &fold.response_time);
        self.newest(label, fold.offset_ns, fold.stratum);
    }

    fn label(&self, pair: Option<(IpAddr, IpAddr)>) -> Option<&str> {
        let (_, server) = pair?;
        self.shown.get()?.get(&server).map(String::as_str)
    }

    fn count(&self, label: &str, exchanges: u64, kisses: u64) {
        self.exchanges.with_label_values(&[label]).inc_by(exchanges);
        if kisses > 0 {
            self.kisses.with_label_values(&[label]).inc_by(kisses);
        }
    }

    fn newest(&self, label: &str, offset_ns: Option<i64>, stratum: Option<u32>) {
        if let Some(ns) = offset_ns {
            self.offset.with_label_values(&[label]).set(seconds(ns));
        }
        if let Some(stratum) = stratum {
            let gauge = self.stratum.with_label_values(&[label]);
            gauge.set(stratum.into());
        }
    }
}

//! NTP monitoring as it is wished, put into effect on the interfaces there are.

use std::net::SocketAddr;

use netmon_common::wire::NtpMonitoring;

use super::{findings::Outlet, work::Work};
use crate::{
    clock,
    ntp::{Plan, Scope, Tap, Wishes},
};

impl Work {
    /// Acts on what is wished from now on, and says so.
    pub fn wish(&mut self, wished: &NtpMonitoring) {
        let wishes = Wishes::from(wished);
        if wishes == *self.monitoring.wishes() {
            return;
        }
        tracing::info!(
            revision = wishes.revision(),
            stopped = ?wishes.stopped(),
            "NTP is monitored as the server wishes"
        );
        self.monitoring.wish(wishes);
        self.arrange();
        // Somebody waits to see what came of it.
        self.report();
    }

    /// Brings what is looked at in line with the interfaces there are and what is wished of them.
    pub(super) fn arrange(&mut self) {
        let taps = self.namespaces.iter().flat_map(|namespace| {
            let watched = namespace.watched.iter();
            watched.map(move |(ifindex, watched)| {
                let tap = Tap {
                    namespace: namespace.number,
                    ifindex: *ifindex,
                };
                (tap, watched.label.as_str())
            })
        });
        let plan = self.monitoring.plan(taps);
        if self.monitoring.differs(&plan) {
            self.adopt(&plan);
        }
        self.look_for(&plan);
        let metrics = &self.shared.metrics;
        let revision = self.monitoring.wishes().revision();
        metrics
            .ntp_monitoring_revision
            .set(i64::try_from(revision).unwrap_or(i64::MAX));
        metrics
            .ntp_interfaces_monitored
            .set(plan.monitored() as i64);
    }

    fn adopt(&mut self, plan: &Plan) {
        let narrowed = self.monitoring.is_narrowed_by(plan);
        if narrowed {
            // What has passed by now is looked at by the terms it passed under.
            self.drain();
        }
        for interface in plan.crowded() {
            tracing::warn!(
                interface,
                "not all of its NTP ports can be looked for: the kernel looks for eight in all"
            );
        }
        let now = clock::now();
        let Self {
            shared,
            observer,
            unasked,
            fold,
            monitoring,
            ..
        } = self;
        let begun = monitoring.adopt(plan, now);
        observer.set_timeouts(monitoring.timeouts());
        for tap in begun {
            observer.begin(tap, now.monotonic_ns);
        }
        if narrowed {
            let stays = |scope: Scope, client: SocketAddr, server: SocketAddr| {
                let terms = monitoring.terms(scope.tap());
                terms.admit(client.port(), server.port()).is_ok()
            };
            let mut intake = shared.spool.lock();
            let mut outlet = Outlet::new(now, shared, &mut intake, unasked, fold);
            observer.withdraw(stays, &mut |found| outlet.take(found));
        }
    }

    /// Tells the kernel what to look for. What fails now is tried again when the interfaces are
    /// compared next.
    fn look_for(&mut self, plan: &Plan) {
        for namespace in &mut self.namespaces {
            let Some(ports) = plan.ports(namespace.number) else {
                continue;
            };
            if namespace.sensor.ntp_ports() != ports
                && let Err(error) = namespace.sensor.set_ntp_ports(ports)
            {
                tracing::warn!(%error, ?ports, "the kernel does not look for NTP on these ports");
                self.shared.metrics.map_read_failed(&error);
            }
        }
    }
}

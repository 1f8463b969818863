//! Keeps the server's certificate fresh while the server runs.

use std::{sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{CertificateRefresh, Metrics},
    pki::{Refreshed, ServerCertificate},
};

/// From so long before the expiry on every failure to renew is told of as urgent.
const URGENT: time::Duration = time::Duration::days(7);

/// Looks after the certificate `every` so often, and at once on SIGHUP, until the shutdown.
pub(super) async fn keep_fresh(
    certificate: Arc<ServerCertificate>,
    every: Duration,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::error!(%error, "cannot watch for SIGHUP");
            return shutdown.cancelled().await;
        }
    };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
            _ = hangups.recv() => tracing::info!("SIGHUP: looking at the certificate"),
        }
        let certificate = Arc::clone(&certificate);
        let metrics = Arc::clone(&metrics);
        // Waits for the directory's lock and writes files.
        let _ = spawn_blocking(move || refresh(&certificate, &metrics)).await;
    }
}

fn refresh(certificate: &ServerCertificate, metrics: &Metrics) {
    let now = OffsetDateTime::now_utc();
    let refreshed = certificate.refresh(now);
    let expires = certificate.expires();
    metrics.certificate_expires(expires);
    match refreshed {
        Ok(Refreshed::Kept) => {}
        Ok(Refreshed::Loaded) => {
            metrics.certificate_refreshed(CertificateRefresh::Loaded);
            tracing::info!(%expires, "another certificate is in use from now on");
        }
        Ok(Refreshed::Renewed) => {
            metrics.certificate_refreshed(CertificateRefresh::Renewed);
            tracing::info!(%expires, "the server's certificate is renewed");
        }
        Err(error) => {
            metrics.certificate_refreshed(CertificateRefresh::Failed);
            let urgent = expires - now < URGENT;
            tracing::error!(%error, %expires, urgent, "the server's certificate stays as it is");
        }
    }
}

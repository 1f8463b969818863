//! The jobs of a server.

use std::{sync::Arc, time::Duration};

use netmon_server::{botnets::jobs::Jobs, config, live::LiveBoard, metrics::Metrics, store::Store};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::site::{Site, seen};

const PATIENCE: Duration = Duration::from_secs(60);

async fn result(site: &Site, job: &str) -> Option<Value> {
    let query = sqlx::query_scalar("SELECT result::text FROM job_results WHERE job = $1");
    let text: Option<String> = query.bind(job).fetch_optional(&site.pool).await.unwrap();
    text.map(|text| serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn results_are_kept_and_shown_and_the_jobs_end_when_they_are_told() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    let at = OffsetDateTime::now_utc() - time::Duration::HOUR;
    site.store(&family, (0..100).map(|n| seen(n, at)).collect())
        .await;
    site.plant("DELETE FROM botnet_communications WHERE ip < '11.0.0.2'")
        .await;
    let metrics = Arc::new(Metrics::new());
    let jobs = Jobs {
        pool: site.pool.clone(),
        store: Arc::new(Store::new(site.pool.clone(), Duration::from_secs(86_400))),
        metrics: Arc::clone(&metrics),
        settings: config::Botnets {
            aggregate: Duration::from_millis(200),
            audit: Duration::from_millis(200),
            ..config::Botnets::default()
        },
    };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(jobs.run(shutdown.clone()));
    let both = timeout(PATIENCE, async {
        loop {
            let found = [
                result(&site, "botnet_aggregation").await,
                result(&site, "botnet_audit").await,
            ];
            if let [Some(round), Some(audit)] = found {
                return (round, audit);
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let (round, audit) = both.await.expect("both jobs ran");
    shutdown.cancel();
    timeout(PATIENCE, running).await.expect("they end").unwrap();
    assert!(round["next_run_at"].is_string(), "{round:#}");
    let of = |report: &Value| {
        let families = report["families"].as_array().unwrap().clone();
        families
            .into_iter()
            .find(|of| of["family"] == "mozi")
            .unwrap()
    };
    assert_eq!(of(&round)["nodes"], 100);
    assert_eq!(audit["clean"], false);
    assert_eq!(of(&audit)["lacking"], 2);
    let shown = metrics.render(&LiveBoard::new(), 10);
    for line in [
        "netmon_server_botnet_coverage_ratio{family=\"mozi\"} 0.98",
        "netmon_server_botnet_audit_findings{finding=\"lacking\"} 2",
        "netmon_server_botnet_audit_alerting_families 1",
        "netmon_server_botnet_drift_total{of=\"nodes\"} 0",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} in\n{shown}"
        );
    }
    let rebuilds = "netmon_server_botnet_rebuilds_total{outcome=\"rebuilt\"} 0";
    assert!(!shown.contains(rebuilds), "{shown}");
}

//! The repair: whatever the audit finds, it mends, also when it is interrupted or lines come in.

use std::sync::Arc;

use netmon_server::botnets::{
    Subject,
    repair::{Options, repair},
};
use time::{Duration, OffsetDateTime};

use crate::{
    audit::audited,
    site::{Site, seen, today},
};

const EXECUTE: Options = Options {
    execute: true,
    batch: 50,
};

/// 600 nodes of the days before yesterday, seen three times within two days.
async fn filled(site: &Site) -> Subject {
    let family = site.family("mozi").await;
    let noon = today().midnight().assume_utc() - Duration::hours(36);
    let lines = (0..600).flat_map(|n| {
        let first = noon - Duration::minutes(i64::from(n));
        let times = [Duration::ZERO, Duration::minutes(5), Duration::hours(20)];
        times.map(|later| seen(n, first + later))
    });
    site.store(&family, lines.collect()).await;
    site.botnets.fold_once().await.unwrap();
    family
}

#[tokio::test]
async fn every_fault_the_audit_finds_is_mended() {
    let site = Site::new().await;
    let family = filled(&site).await;
    let some = "ip IN (SELECT ip FROM botnet_nodes ORDER BY ip LIMIT 120)";
    for fault in [
        format!("DELETE FROM botnet_communications WHERE {some}"),
        format!("DELETE FROM botnet_communications WHERE count = 2 AND {some}"),
        format!("DELETE FROM botnet_communications WHERE count = 1 AND {some}"),
        format!("UPDATE botnet_communications SET count = count + 5 WHERE {some}"),
        format!("UPDATE botnet_nodes SET communications = communications + 7 WHERE {some}"),
        format!("UPDATE botnet_nodes SET communications = 1 WHERE {some}"),
        format!(
            "UPDATE botnet_nodes SET last_seen = last_seen - interval '3 minutes' WHERE {some}"
        ),
        format!("UPDATE botnet_nodes SET last_seen = last_seen + interval '3 hours' WHERE {some}"),
        format!(
            "UPDATE botnet_nodes SET first_seen = first_seen - interval '30 hours' WHERE {some}"
        ),
        format!(
            "UPDATE botnet_nodes SET first_seen = first_seen + interval '1 minute' WHERE {some}"
        ),
        format!("DELETE FROM botnet_nodes WHERE {some}"),
        "DELETE FROM botnet_statistics".to_owned(),
        "UPDATE botnet_statistics SET communications = communications + 1".to_owned(),
    ] {
        site.plant(&fault).await;
        assert!(!audited(&site, &family).await.is_clean(), "{fault}");
        let planned = repair(
            &site.botnets,
            &family,
            Options {
                execute: false,
                ..EXECUTE
            },
            |_| {},
        );
        let planned = planned.await.unwrap();
        assert!(
            !planned.changes.is_none() || !planned.statistics.is_none(),
            "{fault}"
        );
        let done = repair(&site.botnets, &family, EXECUTE, |_| {})
            .await
            .unwrap();
        assert_eq!(done.changes, planned.changes, "{fault}");
        let found = audited(&site, &family).await;
        assert!(found.is_clean() && found.lacking == 0, "{fault}: {found:?}");
        assert_eq!(found.nodes, 600, "{fault}");
        assert_eq!(site.differences(&family).await, 0, "{fault}");
    }
}

#[tokio::test]
async fn a_repair_that_was_interrupted_goes_on_where_it_was() {
    let site = Arc::new(Site::new().await);
    let family = filled(&site).await;
    site.plant("DELETE FROM botnet_communications").await;
    // Stopped in the middle of a batch, several times.
    for batches in [2, 3, 1] {
        let (site, family) = (Arc::clone(&site), family.clone());
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let working = tokio::spawn(async move {
            let tell = |done| sender.send(done).unwrap_or_default();
            let _ = repair(&site.botnets, &family, EXECUTE, tell).await;
        });
        for _ in 0..batches {
            receiver.recv().await.unwrap();
        }
        working.abort();
        let _ = working.await;
    }
    let found = audited(&site, &family).await;
    assert!(
        found.lacking > 0 && found.lacking <= 600 - 6 * 50,
        "{found:?}"
    );
    assert_eq!(
        (found.miscounted, found.misdated),
        (0, 0),
        "each node is mended whole or not"
    );
    let done = repair(&site.botnets, &family, EXECUTE, |_| {})
        .await
        .unwrap();
    assert_eq!(done.changes.lacking as i64, found.lacking);
    assert!(audited(&site, &family).await.is_clean());
    let total = "SELECT sum(count) FROM botnet_communications";
    assert_eq!(site.number(total).await, 1800, "nothing was mended twice");
}

#[tokio::test]
async fn lines_that_come_in_meanwhile_are_counted_once() {
    let site = Arc::new(Site::new().await);
    let family = filled(&site).await;
    site.plant("DELETE FROM botnet_communications").await;
    let writer = {
        let (site, family) = (Arc::clone(&site), family.clone());
        tokio::spawn(async move {
            for _ in 0..20 {
                let at = OffsetDateTime::now_utc() - Duration::HOUR;
                site.store(&family, (0..600).map(|n| seen(n, at)).collect())
                    .await;
            }
        })
    };
    repair(&site.botnets, &family, EXECUTE, |_| {})
        .await
        .unwrap();
    writer.await.unwrap();
    let found = audited(&site, &family).await;
    assert!(found.is_clean() && found.lacking == 0, "{found:?}");
    let total = "SELECT sum(count) FROM botnet_communications";
    assert_eq!(site.number(total).await, 1800 + 20 * 600);
    assert_eq!(site.differences(&family).await, 0);
}

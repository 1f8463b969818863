//! The audit: clean data is clean, and nothing that was planted escapes it.

use netmon_server::{
    botnets::{
        Subject,
        audit::{FamilyAudit, audit},
    },
    config::Config,
    store::Store,
};
use time::{Duration, OffsetDateTime};

use crate::site::{Site, seen, today};

pub async fn audited(site: &Site, family: &Subject) -> FamilyAudit {
    let families = std::slice::from_ref(family);
    let mut report = audit(&site.pool, families, 99.0).await.unwrap();
    assert_eq!(report.clean, report.families[0].is_clean());
    report.families.remove(0)
}

/// 500 nodes over five days, seen twice each.
async fn filled(site: &Site) -> Subject {
    let family = site.family("mozi").await;
    let noon = today().midnight().assume_utc() - Duration::hours(12);
    let lines = (0..500).flat_map(|n| {
        let first = noon - Duration::days(i64::from(n / 100));
        [seen(n, first), seen(n, first + Duration::minutes(90))]
    });
    site.store(&family, lines.collect()).await;
    family
}

#[tokio::test]
async fn what_was_stored_is_clean() {
    let site = Site::new().await;
    let family = filled(&site).await;
    let found = audited(&site, &family).await;
    assert_eq!(
        (found.nodes, found.lacking, found.alerts.len()),
        (500, 0, 0)
    );
    assert_eq!((found.since, found.coverage_percent), (None, 100.0));
    let empty = audited(&site, &site.family("asruex").await).await;
    assert_eq!((empty.nodes, empty.coverage_percent), (0, 100.0));
}

#[tokio::test]
async fn every_planted_fault_is_found() {
    let site = Site::new().await;
    let family = filled(&site).await;
    let one = "(SELECT min(ip) FROM botnet_nodes)";
    for (name, fault, remedy) in [
        ("miscounted", format!("UPDATE botnet_nodes SET communications = communications + 1 WHERE ip = {one}"),
         format!("UPDATE botnet_nodes SET communications = communications - 1 WHERE ip = {one}")),
        ("miscounted", format!("UPDATE botnet_communications SET count = count + 1 WHERE ip = {one}"),
         format!("UPDATE botnet_communications SET count = count - 1 WHERE ip = {one}")),
        ("misdated", format!("UPDATE botnet_nodes SET last_seen = last_seen + interval '1s' WHERE ip = {one}"),
         format!("UPDATE botnet_nodes SET last_seen = last_seen - interval '1s' WHERE ip = {one}")),
        ("misdated", format!("UPDATE botnet_nodes SET first_seen = first_seen - interval '1s' WHERE ip = {one}"),
         format!("UPDATE botnet_nodes SET first_seen = first_seen + interval '1s' WHERE ip = {one}")),
        ("orphans", "INSERT INTO botnet_communications (family_id, bucket, first_seen, last_seen, count, source_id, ip)
          SELECT family_id, bucket, first_seen, last_seen, count, source_id, '203.0.113.7' FROM botnet_communications LIMIT 1".to_owned(),
         "DELETE FROM botnet_communications WHERE ip = '203.0.113.7'".to_owned()),
        ("drift", "UPDATE botnet_deltas SET nodes[1] = nodes[1] + 1".to_owned(),
         "UPDATE botnet_deltas SET nodes[1] = nodes[1] - 1".to_owned()),
    ] {
        site.plant(&fault).await;
        let found = audited(&site, &family).await;
        let all = [
            ("miscounted", found.miscounted),
            ("misdated", found.misdated),
            ("orphans", found.orphans),
            ("drift", found.drift.places as i64),
        ];
        // A counter that is wrong is wrong in the sum of its place, too.
        let named = all.iter().any(|(of, count)| *of == name && *count == 1);
        assert!(named && !found.is_clean(), "{fault}: {found:?}");
        assert_eq!(found.lacking, 0, "{fault}");
        site.plant(&remedy).await;
        assert!(audited(&site, &family).await.is_clean(), "{remedy}");
    }
}

#[tokio::test]
async fn nodes_whose_communications_are_past_retention_are_not_asked_for_them() {
    let site = Site::new().await;
    let family = filled(&site).await;
    // The two oldest days are dropped.
    let since = today() - Duration::days(3);
    site.plant(&format!(
        "DELETE FROM botnet_communications WHERE bucket < '{since} 00:00:00+00'"
    ))
    .await;
    let found = audited(&site, &family).await;
    assert_eq!((found.nodes, found.lacking), (500, 200));
    assert_eq!(found.days.len(), 2);
    site.plant(&format!(
        "UPDATE retained SET since = '{since} 00:00:00+00'
         WHERE table_name = 'botnet_communications'"
    ))
    .await;
    let found = audited(&site, &family).await;
    assert_eq!(
        (found.nodes, found.lacking, found.miscounted, found.misdated),
        (300, 0, 0, 0)
    );
    assert!(found.is_clean(), "{found:?}");
    assert_eq!(found.since, Some(since.midnight().assume_utc()));
}

#[tokio::test]
async fn partitions_dropped_at_the_end_of_retention_leave_coverage_whole() {
    let site = Site::new().await;
    let family = filled(&site).await;
    let mut config = Config::default();
    config.botnets.communications = std::time::Duration::from_secs(2 * 86_400);
    let store = Store::new(site.pool.clone(), &config);
    let now = OffsetDateTime::now_utc();
    let dropped = store.maintain_once(now).await.unwrap().dropped;
    let of_botnets = |name: &&String| name.starts_with("botnet_communications");
    assert_eq!(dropped.iter().filter(of_botnets).count(), 3, "{dropped:?}");
    let found = audited(&site, &family).await;
    assert!(found.is_clean() && found.lacking == 0, "{found:?}");
    assert_eq!((found.nodes, found.since.is_some()), (200, true));
    // Statistics count sightings that are past retention.
    let live = "SELECT sum(c) FROM botnet_deltas, unnest(communications) AS of (c)";
    assert_eq!(site.number(live).await, 1000);
}

#[tokio::test]
async fn a_family_that_cannot_be_read_is_not_clean() {
    let site = Site::new().await;
    let family = filled(&site).await;
    site.plant("ALTER TABLE botnet_deltas RENAME TO mislaid")
        .await;
    let found = audited(&site, &family).await;
    assert!(
        found
            .error
            .as_ref()
            .is_some_and(|error| error.contains("botnet_deltas")),
        "{found:?}"
    );
    assert!(!found.is_clean());
}

#[tokio::test]
async fn lines_may_come_in_while_it_looks() {
    let site = std::sync::Arc::new(Site::new().await);
    let family = filled(&site).await;
    let writer = {
        let (site, family) = (std::sync::Arc::clone(&site), family.clone());
        tokio::spawn(async move {
            for chunk in 0..20_u32 {
                let at = OffsetDateTime::now_utc() - Duration::HOUR;
                let lines = (0..200).map(|n| seen(chunk * 150 + n, at));
                site.store(&family, lines.collect()).await;
            }
        })
    };
    while !writer.is_finished() {
        let found = audited(&site, &family).await;
        assert!(found.is_clean() && found.lacking == 0, "{found:?}");
    }
    writer.await.unwrap();
}

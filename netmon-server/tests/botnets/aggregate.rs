//! The full rebuild of statistics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use netmon_server::botnets::aggregate::{
    Drift, KEPT_RUNS, Outcome, RebuildError, Trigger, rebuild, run,
};
use time::OffsetDateTime;

use crate::site::{Site, seen};

const WRITERS: u32 = 4;
const CHUNKS: u32 = 12;
const LINES: u32 = 400;

/// Addresses that all writers meet.
const ADDRESSES: u32 = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_beside_four_writers_finds_no_drift_and_readers_see_nothing_half() {
    let site = Arc::new(Site::new().await);
    let family = site.family("mozi").await;
    let done = Arc::new(AtomicBool::new(false));
    let writers = (0..WRITERS).map(|writer| {
        let (site, family) = (Arc::clone(&site), family.clone());
        tokio::spawn(async move {
            for chunk in 0..CHUNKS {
                let now = OffsetDateTime::now_utc() - time::Duration::HOUR;
                let number = |line: u32| (writer * 7919 + chunk * 911 + line * 31) % ADDRESSES;
                let lines = (0..LINES).map(|line| seen(number(line), now));
                site.store(&family, lines.collect()).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let folder = {
        let (site, done) = (Arc::clone(&site), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                site.botnets.fold_once().await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    let reader = {
        let (site, family, done) = (Arc::clone(&site), family.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(site.differences(&family).await, 0, "a reader saw half");
                looks += 1;
            }
            looks
        })
    };
    let mut rebuilds = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        if let Some(rebuilt) = rebuild(&site.pool, &family, Trigger::Job).await.unwrap() {
            assert_eq!(rebuilt.drift, Drift::default(), "rebuild {rebuilds}");
            rebuilds += 1;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    folder.await.unwrap();
    assert!(
        reader.await.unwrap() > 0 && rebuilds > 0,
        "{rebuilds} rebuilds"
    );
    assert_eq!(site.differences(&family).await, 0);
    let rebuilt = rebuild(&site.pool, &family, Trigger::Job)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rebuilt.drift, Drift::default());
    let lines = i64::from(WRITERS * CHUNKS * LINES);
    assert_eq!(
        rebuilt.communications, lines,
        "no line is lost, none is doubled"
    );
    let rows = "SELECT sum(communications) FROM botnet_statistics";
    assert_eq!(site.number(rows).await, lines, "all is folded in");
    assert_eq!(site.number("SELECT count(*) FROM botnet_deltas").await, 0);
    let runs = "SELECT count(*) FROM botnet_aggregations WHERE error IS NULL AND drift_places = 0";
    assert_eq!(site.number(runs).await, rebuilds + 1);
}

#[tokio::test]
async fn planted_drift_is_found_reported_and_mended() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    let at = OffsetDateTime::now_utc() - time::Duration::HOUR;
    site.store(&family, (0..100).map(|n| seen(n, at)).collect())
        .await;
    site.botnets.fold_once().await.unwrap();
    for (plant, drift) in [
        (
            "UPDATE botnet_statistics SET nodes = nodes + 3 WHERE place_id = (SELECT max(place_id) FROM botnet_statistics)",
            (1, 3, 0),
        ),
        (
            "DELETE FROM botnet_statistics WHERE place_id = 0",
            (1, 20, 20),
        ),
        (
            "INSERT INTO botnet_statistics SELECT family_id, 4711, 5, 6 FROM botnet_families WHERE name = 'mozi'",
            (1, 5, 6),
        ),
        (
            "INSERT INTO botnet_deltas (family_id, place_ids, nodes, communications, days) SELECT family_id, '{0}', '{-2}', '{9}', '{}' FROM botnet_families WHERE name = 'mozi'",
            (1, 2, 9),
        ),
        ("DELETE FROM botnet_statistics", (5, 100, 100)),
    ] {
        site.plant(plant).await;
        assert!(site.differences(&family).await > 0, "{plant}");
        let rebuilt = rebuild(&site.pool, &family, Trigger::Job)
            .await
            .unwrap()
            .unwrap();
        let found = rebuilt.drift;
        assert_eq!(
            (found.places, found.nodes, found.communications),
            drift,
            "{plant}"
        );
        assert_eq!(site.differences(&family).await, 0, "{plant}");
        let rebuilt = rebuild(&site.pool, &family, Trigger::Job)
            .await
            .unwrap()
            .unwrap();
        assert!(rebuilt.drift.is_none(), "{plant}");
    }
    let reported = "SELECT sum(drift_nodes) FROM botnet_aggregations";
    assert_eq!(site.number(reported).await, 3 + 20 + 5 + 2 + 100);
}

#[tokio::test]
async fn a_family_that_fails_leaves_the_others_and_stays_as_it_was() {
    let site = Site::new().await;
    let at = OffsetDateTime::now_utc() - time::Duration::HOUR;
    for name in ["andromeda", "mozi", "ramnit"] {
        let family = site.family(name).await;
        site.store(&family, (0..50).map(|n| seen(n, at)).collect())
            .await;
    }
    // Statistics of one family cannot be written.
    site.plant(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.family_id = (SELECT family_id FROM botnet_families WHERE name = 'mozi') THEN
                 RAISE EXCEPTION 'planted';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON botnet_statistics
             FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    .await;
    let families = netmon_server::botnets::Subject::all(&site.pool)
        .await
        .unwrap();
    let round = run(&site.pool, &families, Trigger::Job).await;
    let outcomes: Vec<_> = round
        .families
        .iter()
        .map(|run| (run.family.as_str(), run.outcome))
        .collect();
    assert_eq!(
        outcomes,
        [
            ("andromeda", Outcome::Rebuilt),
            ("asruex", Outcome::Empty),
            ("leethozer", Outcome::Empty),
            ("moobot", Outcome::Empty),
            ("mozi", Outcome::Failed),
            ("ramnit", Outcome::Rebuilt),
        ]
    );
    assert!(!round.is_complete() && !round.has_drift());
    let failed = round
        .families
        .iter()
        .find(|run| run.family == "mozi")
        .unwrap();
    assert!(
        failed.error.as_ref().unwrap().contains("planted"),
        "{failed:?}"
    );
    let mozi = site.family("mozi").await;
    assert_eq!(
        site.differences(&mozi).await,
        0,
        "its deltas are still there"
    );
    let written = "SELECT count(*) FROM botnet_aggregations WHERE error LIKE '%planted%'";
    assert_eq!(site.number(written).await, 1);
    site.plant("DROP TRIGGER refuse ON botnet_statistics").await;
    let rebuilt = rebuild(&site.pool, &mozi, Trigger::Job)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((rebuilt.nodes, rebuilt.drift), (50, Drift::default()));
}

#[tokio::test]
async fn a_rebuild_waits_for_whoever_changes_the_statistics() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    let at = OffsetDateTime::now_utc() - time::Duration::HOUR;
    site.store(&family, (0..10).map(|n| seen(n, at)).collect())
        .await;
    let mut holder = site.pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('netmon.botnet.statistics', $1))")
        .bind(family.id)
        .execute(&mut *holder)
        .await
        .unwrap();
    let rebuilding = rebuild(&site.pool, &family, Trigger::Job);
    let early = tokio::time::timeout(Duration::from_millis(300), rebuilding).await;
    assert!(early.is_err(), "it did not wait");
    assert_eq!(
        site.number("SELECT count(*) FROM botnet_statistics").await,
        0
    );
    let rebuilding = {
        let (pool, family) = (site.pool.clone(), family.clone());
        tokio::spawn(async move { rebuild(&pool, &family, Trigger::Job).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    // What the holder does is seen by the rebuild that waited for it.
    sqlx::query("DELETE FROM botnet_deltas")
        .execute(&mut *holder)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO botnet_statistics
         SELECT family_id, place_id, count(*), sum(communications) FROM botnet_nodes
         GROUP BY family_id, place_id",
    )
    .execute(&mut *holder)
    .await
    .unwrap();
    holder.commit().await.unwrap();
    let rebuilt = rebuilding.await.unwrap().unwrap().unwrap();
    assert_eq!(
        (rebuilt.nodes, rebuilt.drift, rebuilt.deltas),
        (10, Drift::default(), 0)
    );
}

#[tokio::test]
async fn a_family_without_nodes_is_skipped_and_one_that_is_gone_is_said() {
    let site = Site::new().await;
    let family = site.family("asruex").await;
    assert_eq!(
        rebuild(&site.pool, &family, Trigger::Job).await.unwrap(),
        None
    );
    site.botnets.delete_family(family.id).await.unwrap();
    let gone = rebuild(&site.pool, &family, Trigger::Job).await;
    assert!(matches!(gone, Err(RebuildError::FamilyGone)), "{gone:?}");
    assert_eq!(
        site.number("SELECT count(*) FROM botnet_aggregations")
            .await,
        0
    );
}

#[tokio::test]
async fn a_family_whose_nodes_went_loses_its_statistics() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    let at = OffsetDateTime::now_utc() - time::Duration::hours(4);
    site.store(&family, (0..10).map(|n| seen(n, at)).collect())
        .await;
    rebuild(&site.pool, &family, Trigger::Job)
        .await
        .unwrap()
        .unwrap();
    assert!(site.number("SELECT count(*) FROM botnet_active").await > 0);
    let all = netmon_server::store::botnets::NodeSelection::All;
    site.botnets.delete_nodes(family.id, &all).await.unwrap();
    let rebuilt = rebuild(&site.pool, &family, Trigger::Job)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (rebuilt.nodes, rebuilt.places, rebuilt.drift),
        (0, 0, Drift::default())
    );
    for table in ["botnet_statistics", "botnet_active", "botnet_deltas"] {
        assert_eq!(
            site.number(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
    assert_eq!(
        rebuild(&site.pool, &family, Trigger::Job).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn the_book_of_runs_forgets_the_oldest() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    let at = OffsetDateTime::now_utc() - time::Duration::HOUR;
    site.store(&family, vec![seen(1, at)]).await;
    site.plant(&format!(
        "INSERT INTO botnet_aggregations
             (family_id, trigger, started_at, finished_at, nodes, communications, places,
              drift_places, drift_nodes, drift_communications)
         SELECT family_id, 'job', now(), now(), 0, 0, 0, 0, 0, 0
         FROM botnet_families, generate_series(1, {}) AS of (n) WHERE name = 'mozi'",
        KEPT_RUNS + 5
    ))
    .await;
    rebuild(&site.pool, &family, Trigger::Api)
        .await
        .unwrap()
        .unwrap();
    let kept = "SELECT count(*) FROM botnet_aggregations";
    assert_eq!(site.number(kept).await, KEPT_RUNS);
    let newest = "SELECT count(*) FROM botnet_aggregations
                  WHERE trigger = 'api' AND run_id = (SELECT max(run_id) FROM botnet_aggregations)";
    assert_eq!(site.number(newest).await, 1);
}

//! Nodes are located again by other geo files while logs come in, and statistics stay exact.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use netmon_geo::{Atlas, Place, Settings, SpecialRegions};
use netmon_server::{
    geo::{Geo, relocation::Relocation},
    live::LiveBoard,
    metrics::Metrics,
    store::{
        Store,
        botnets::{Botnets, EditionId, Family, NumberedAtlas, Relocated, Sighting},
    },
};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::{
    botnets::{assert_balanced, assert_exact, botnets, chunk, upload},
    database::{RETENTION, number},
    program::{command, text},
};

/// Two atlases of the same files, which differ in Hong Kong, Macao and Taiwan.
fn atlases() -> (Arc<Atlas>, Arc<Atlas>) {
    let settings = Settings {
        special_regions: SpecialRegions::Cn,
        ..Settings::default()
    };
    let other = Atlas::open(&settings).unwrap();
    (Arc::new(Atlas::embedded()), Arc::new(other))
}

/// An address in Taiwan for every third number, else in Jiangsu or in the Netherlands.
fn host(number: u32) -> IpAddr {
    let net = [[140, 112, 0, 0], [114, 114, 0, 0], [52, 166, 0, 0]][number as usize % 3];
    Ipv4Addr::from(u32::from_be_bytes(net) + number % 60_000).into()
}

fn sightings(atlas: &Atlas, numbers: impl Iterator<Item = u32>) -> Vec<Sighting> {
    let at = OffsetDateTime::now_utc() - time::Duration::HOUR;
    let at = at.replace_nanosecond(0).unwrap();
    let seen = |number| Sighting::new(host(number), at, None, atlas.locate(host(number)));
    numbers.map(seen).collect()
}

async fn fill(botnets: &Botnets, family: &Family, edition: EditionId, sightings: Vec<Sighting>) {
    let upload = upload(botnets, family, &format!("{:x}", rand::random::<u64>())).await;
    for (index, part) in sightings.chunks(10_000).enumerate() {
        let chunk = chunk(index as u32, edition, part.to_vec());
        botnets.store_chunk(&upload, chunk).await.unwrap();
    }
}

async fn relocate_all(botnets: &Botnets, family: &Family, by: NumberedAtlas<'_>) -> Relocated {
    let (mut all, mut after) = (Relocated::default(), None);
    loop {
        let batch = botnets.relocate(family.id, by, after).await.unwrap();
        all.add(batch.relocated);
        match batch.next_after {
            Some(address) => after = Some(address),
            None => return all,
        }
    }
}

async fn in_country(pool: &PgPool, country: &str, province: &str) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM botnet_nodes JOIN botnet_places USING (place_id)
         WHERE country = '{country}' AND province = '{province}'"
    );
    number(pool, &sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_where_other_files_say_and_statistics_with_them() {
    let (botnets, pool, family) = botnets().await;
    let (one, other) = atlases();
    let old = botnets.edition(one.edition()).await.unwrap();
    fill(&botnets, &family, old, sightings(&one, 0..12_000)).await;
    let in_taiwan = in_country(&pool, "TW", "").await;
    assert_eq!(in_taiwan, 4_000);

    let unused = NumberedAtlas {
        atlas: &other,
        edition: botnets.edition_if_used(other.edition()).await.unwrap(),
    };
    let mut planned = Relocated::default();
    let mut after = None;
    loop {
        let batch = botnets
            .relocation_of(family.id, unused, after)
            .await
            .unwrap();
        planned.add(batch.relocated);
        after = match batch.next_after {
            Some(address) => Some(address),
            None => break,
        };
    }
    assert_eq!(
        in_country(&pool, "TW", "").await,
        4_000,
        "a preview changes nothing"
    );

    let by = NumberedAtlas {
        atlas: &other,
        edition: botnets.edition(other.edition()).await.unwrap(),
    };
    assert_eq!(
        botnets.outdated(by.edition).await.unwrap(),
        [(family.id, 12_000)]
    );
    // Interrupted after the first batch: what is done is not done again.
    let first = botnets.relocate(family.id, by, None).await.unwrap();
    assert_eq!(first.relocated.same + first.relocated.moved, 5_000);
    assert!(first.next_after.is_some());
    assert_balanced(&pool).await;
    let mut all = relocate_all(&botnets, &family, by).await;
    all.add(first.relocated);
    assert_eq!((all.same, all.moved), (8_000, 4_000));
    assert_eq!(all, planned);
    assert_eq!(in_country(&pool, "CN", "CN-TW").await, 4_000);
    assert_eq!(botnets.outdated(by.edition).await.unwrap(), []);
    assert_balanced(&pool).await;
    let again = relocate_all(&botnets, &family, by).await;
    assert_eq!(again, Relocated::default());

    while botnets.fold_once().await.unwrap().waiting > 0 {}
    assert_balanced(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_files_do_not_know_stays_as_a_log_said() {
    let (botnets, pool, family) = botnets().await;
    let (one, other) = atlases();
    let old = botnets.edition(one.edition()).await.unwrap();
    let said = Place::new("NL", "", "").unwrap();
    let at = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let seen = Sighting::new("10.0.0.7".parse().unwrap(), at, None, said);
    fill(&botnets, &family, old, vec![seen]).await;

    let by = NumberedAtlas {
        atlas: &other,
        edition: botnets.edition(other.edition()).await.unwrap(),
    };
    let all = relocate_all(&botnets, &family, by).await;
    assert_eq!((all.same, all.moved), (1, 0));
    assert_eq!(in_country(&pool, "NL", "").await, 1);
    assert_eq!(botnets.outdated(by.edition).await.unwrap(), []);
    assert_balanced(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_kept_days_is_made_again_with_the_last_batch() {
    let (botnets, pool, family) = botnets().await;
    let (one, other) = atlases();
    let old = botnets.edition(one.edition()).await.unwrap();
    fill(&botnets, &family, old, sightings(&one, 0..6_000)).await;
    while botnets.fold_once().await.unwrap().waiting > 0 {}
    sqlx::raw_sql(
        "DELETE FROM botnet_days_due;
         INSERT INTO botnet_days SELECT family_id, (now() AT TIME ZONE 'UTC')::date - age, 0, 1, 1, 1
         FROM botnet_families, unnest(ARRAY[1, 2, 200]) AS age WHERE name = 'mozi'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let by = NumberedAtlas {
        atlas: &other,
        edition: botnets.edition(other.edition()).await.unwrap(),
    };
    let due = "SELECT count(*) FROM botnet_days_due";
    let first = botnets.relocate(family.id, by, None).await.unwrap();
    while botnets.fold_once().await.unwrap().waiting > 0 {}
    assert_eq!(number(&pool, due).await, 0);
    botnets
        .relocate(family.id, by, first.next_after)
        .await
        .unwrap();
    while botnets.fold_once().await.unwrap().waiting > 0 {}
    assert_eq!(
        number(&pool, due).await,
        2,
        "the day 200 days ago stays as it was"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_exact_at_every_moment_with_writers_going_on() {
    let (botnets, pool, family) = botnets().await;
    let (one, other) = atlases();
    let old = botnets.edition(one.edition()).await.unwrap();
    fill(&botnets, &family, old, sightings(&one, 0..15_000)).await;

    let writing = Arc::new(AtomicBool::new(true));
    let mut tasks = Vec::new();
    for writer in 0..3u32 {
        let (botnets, family, one) = (Arc::clone(&botnets), family.clone(), Arc::clone(&one));
        let writing = Arc::clone(&writing);
        // Known nodes and new ones, in another order each time.
        tasks.push(tokio::spawn(async move {
            let mut round = writer;
            while writing.load(Ordering::Relaxed) {
                let numbers = (0..500).map(move |n| (n * 7919 + round * 104_729) % 30_000);
                fill(&botnets, &family, old, sightings(&one, numbers)).await;
                round += 3;
            }
        }));
    }
    {
        let (botnets, writing) = (Arc::clone(&botnets), Arc::clone(&writing));
        tasks.push(tokio::spawn(async move {
            while writing.load(Ordering::Relaxed) {
                botnets.fold_once().await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
    }
    let watched = {
        let (pool, writing) = (pool.clone(), Arc::clone(&writing));
        tokio::spawn(async move {
            let mut looks = 0;
            while writing.load(Ordering::Relaxed) {
                assert_exact(&pool).await;
                looks += 1;
            }
            looks
        })
    };

    let by = |atlas, edition| NumberedAtlas { atlas, edition };
    let new = botnets.edition(other.edition()).await.unwrap();
    // There and back and there again.
    for (atlas, edition) in [(&other, new), (&one, old), (&other, new)] {
        let relocated = relocate_all(&botnets, &family, by(atlas, edition)).await;
        assert!(relocated.moved >= 4_000, "{relocated:?}");
    }
    writing.store(false, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    assert!(watched.await.unwrap() > 0);
    // What was written behind its back by the old files.
    relocate_all(&botnets, &family, by(&other, new)).await;
    assert_eq!(botnets.outdated(new).await.unwrap(), []);
    assert_eq!(in_country(&pool, "TW", "").await, 0);
    assert_balanced(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_server_with_other_files_locates_all_nodes_again() {
    let (botnets, pool, family) = botnets().await;
    let (one, other) = atlases();
    let old = botnets.edition(one.edition()).await.unwrap();
    fill(&botnets, &family, old, sightings(&one, 0..12_000)).await;

    let metrics = Arc::new(Metrics::new());
    let settings = Settings {
        special_regions: SpecialRegions::Cn,
        ..Settings::default()
    };
    let geo = Geo::open(&settings, metrics.geo.clone()).unwrap();
    let job = Relocation {
        geo: Arc::new(geo),
        botnets: Arc::clone(&botnets),
        store: Arc::new(Store::new(pool.clone(), RETENTION)),
        metrics: Arc::clone(&metrics),
    };
    let shutdown = CancellationToken::new();
    let job = tokio::spawn(job.run(shutdown.clone()));
    let new = botnets.edition(other.edition()).await.unwrap();
    let all = "netmon_server_geo_relocated_nodes_total{result=\"same\"} 8000";
    let text = || metrics.render(&LiveBoard::new(), 0);
    let done = || text().contains(all);
    for _ in 0..600 {
        if done() && botnets.outdated(new).await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(done(), "{}", text());
    assert_eq!(in_country(&pool, "CN", "CN-TW").await, 4_000);
    assert_balanced(&pool).await;
    shutdown.cancel();
    job.await.unwrap();
    let leases = "SELECT count(*) FROM job_leases WHERE job = 'relocation'";
    assert_eq!(
        number(&pool, leases).await,
        0,
        "another server can go on at once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_would_be_elsewhere_and_then_does_it() {
    let (botnets, pool, family) = botnets().await;
    let (one, _) = atlases();
    let old = botnets.edition(one.edition()).await.unwrap();
    fill(&botnets, &family, old, sightings(&one, 0..6_000)).await;
    let relocate = async |arguments: &[&str]| {
        let arguments = [&["botnet", "relocate"], arguments].concat();
        let mut command = command(&pool, &arguments);
        command.env("NETMON_SERVER__GEO__SPECIAL_REGIONS", "cn");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        (
            output.status.success(),
            text(&output.stdout) + &text(&output.stderr),
        )
    };
    let (planned, says) = relocate(&["--dry-run"]).await;
    assert!(
        planned && says.contains("mozi: 2000 would be elsewhere"),
        "{says}"
    );
    assert_eq!(in_country(&pool, "TW", "").await, 2_000);
    let (_, says) = relocate(&["--family", "ramnit"]).await;
    assert!(!says.contains("mozi"), "{says}");
    let (known, says) = relocate(&["--family", "nobody"]).await;
    assert!(
        !known && says.contains("there is no family \"nobody\""),
        "{says}"
    );
    let (done, says) = relocate(&["--family", "mozi"]).await;
    assert!(
        done && says.contains("mozi: 2000 are elsewhere, 4000 where"),
        "{says}"
    );
    assert_eq!(in_country(&pool, "CN", "CN-TW").await, 2_000);
    assert_balanced(&pool).await;
}

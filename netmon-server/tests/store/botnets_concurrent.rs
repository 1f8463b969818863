//! Statistics are exact whatever happens at once.

use std::{sync::Arc, time::Duration};

use netmon_server::store::botnets::{Botnets, Family, NodeSelection};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    botnets::{
        INEXACT, assert_balanced, botnets, chunk, edition, host, place, seen, sightings, upload,
    },
    database::number,
};

/// Eight writers send chunks over the same addresses, each in an order of its own.
async fn write(botnets: &Arc<Botnets>, family: &Family, writers: u32, chunks: u32) {
    let edition = edition(botnets).await;
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (botnets, family) = (Arc::clone(botnets), family.clone());
        tasks.spawn(async move {
            let mut random = StdRng::seed_from_u64(u64::from(writer));
            let upload = upload(&botnets, &family, &format!("upload {writer}")).await;
            for index in 0..chunks {
                let at = |n: u32| upload.received_at - time::Duration::minutes(i64::from(n % 300));
                let of = |n: u32| seen((writer % 3) * 300 + n, at(n * 7 + index));
                let mut all: Vec<_> = (0..1000).map(of).collect();
                all.shuffle(&mut random);
                botnets
                    .store_chunk(&upload, chunk(index, edition, all))
                    .await
                    .unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// Does something again and again until told to stop; gives how often.
fn meanwhile<F: Future<Output = ()> + Send>(
    stop: &CancellationToken,
    mut work: impl FnMut(u32) -> F + Send + 'static,
) -> tokio::task::JoinHandle<u32> {
    let stop = stop.clone();
    tokio::spawn(async move {
        let mut rounds = 0;
        while !stop.is_cancelled() {
            work(rounds).await;
            rounds += 1;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        rounds
    })
}

/// Moves nodes to another place, as a new edition of the geo files would.
async fn relocate(pool: &PgPool, family: &Family, to: i32) {
    let mut transaction = pool.begin().await.unwrap();
    let moved: Vec<(ipnetwork::IpNetwork, i32, i64)> = sqlx::query_as(
        "SELECT ip, place_id, communications FROM botnet_nodes
         WHERE family_id = $1 AND place_id <> $2 ORDER BY ip LIMIT 100 FOR UPDATE",
    )
    .bind(family.id)
    .bind(to)
    .fetch_all(&mut *transaction)
    .await
    .unwrap();
    let (mut places, mut nodes, mut counts) = (vec![], vec![], vec![]);
    for (_, from, count) in &moved {
        places.extend([*from, to]);
        nodes.extend([-1_i64, 1]);
        counts.extend([-count, *count]);
    }
    let ips: Vec<_> = moved.iter().map(|(ip, ..)| *ip).collect();
    sqlx::query("UPDATE botnet_nodes SET place_id = $3 WHERE family_id = $1 AND ip = ANY ($2)")
        .bind(family.id)
        .bind(ips)
        .bind(to)
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO botnet_deltas (family_id, place_ids, nodes, communications, days)
         VALUES ($1, $2, $3, $4, '{}')",
    )
    .bind(family.id)
    .bind(places)
    .bind(nodes)
    .bind(counts)
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_over_the_same_addresses_neither_deadlock_nor_lose_a_count() {
    let (botnets, pool, family) = botnets().await;
    write(&botnets, &family, 8, 10).await;
    assert_eq!(sightings(&pool).await, 8 * 10 * 1000);
    assert_balanced(&pool).await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&pool, deadlocks).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_exact_at_every_moment_while_everything_happens_at_once() {
    let (botnets, pool, family) = botnets().await;
    let stop = CancellationToken::new();
    let places: Vec<i32> = botnets
        .place_ids(&[0, 1, 2, 3, 4].map(place))
        .await
        .unwrap();
    let folding = {
        let botnets = Arc::clone(&botnets);
        meanwhile(&stop, move |_| {
            let botnets = Arc::clone(&botnets);
            async move {
                botnets.fold_once().await.unwrap();
            }
        })
    };
    let moving = {
        let (pool, family) = (pool.clone(), family.clone());
        meanwhile(&stop, move |round| {
            let (pool, family) = (pool.clone(), family.clone());
            let to = places[round as usize % places.len()];
            async move { relocate(&pool, &family, to).await }
        })
    };
    let deleting = {
        let (botnets, family) = (Arc::clone(&botnets), family.clone());
        meanwhile(&stop, move |round| {
            let (botnets, family) = (Arc::clone(&botnets), family.clone());
            let some = (0..20)
                .map(|n| host((round * 37 + n * 11) % 1600).0)
                .collect();
            async move {
                let some = NodeSelection::Addresses(some);
                botnets.delete_nodes(family.id, &some).await.unwrap();
            }
        })
    };
    let looking = {
        let pool = pool.clone();
        meanwhile(&stop, move |_| {
            let pool = pool.clone();
            async move {
                assert_eq!(number(&pool, INEXACT).await, 0, "inexact at a moment");
            }
        })
    };
    write(&botnets, &family, 8, 10).await;
    stop.cancel();
    for task in [folding, moving, deleting, looking] {
        assert!(task.await.unwrap() > 1);
    }
    botnets.fold_once().await.unwrap();
    assert_eq!(number(&pool, "SELECT count(*) FROM botnet_deltas").await, 0);
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn folding_leaves_no_rows_of_nothing_and_says_which_days_changed() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let at = upload.received_at;
    let days = [at, at - time::Duration::days(2)];
    let sent = days
        .iter()
        .enumerate()
        .map(|(n, at)| seen(n as u32, *at))
        .collect();
    botnets
        .store_chunk(&upload, chunk(0, edition, sent))
        .await
        .unwrap();
    let folded = botnets.fold_once().await.unwrap();
    assert_eq!((folded.deltas, folded.waiting), (1, 0));
    let due: Vec<time::Date> = sqlx::query_scalar("SELECT day FROM botnet_days_due ORDER BY day")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(due, [days[1].date(), days[0].date()]);
    assert_eq!(
        number(&pool, "SELECT count(*) FROM botnet_statistics").await,
        2
    );

    botnets
        .delete_nodes(family.id, &NodeSelection::All)
        .await
        .unwrap();
    botnets.fold_once().await.unwrap();
    assert_eq!(
        number(&pool, "SELECT count(*) FROM botnet_statistics").await,
        0
    );
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn whoever_counts_afresh_keeps_folders_out_and_nobody_else() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let mut counting = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, $2))")
        .bind(netmon_server::store::botnets::STATISTICS_LOCK)
        .bind(family.id)
        .execute(&mut *counting)
        .await
        .unwrap();
    let sent = chunk(0, edition, vec![seen(1, upload.received_at)]);
    botnets.store_chunk(&upload, sent).await.unwrap();
    let folded = botnets.fold_once().await.unwrap();
    assert_eq!((folded.deltas, folded.busy, folded.waiting), (0, 1, 1));
    counting.rollback().await.unwrap();
    assert_eq!(botnets.fold_once().await.unwrap().deltas, 1);
    assert_balanced(&pool).await;
}

//! What is old goes, and what is left stays exact.

use std::time::Duration;

use netmon_server::{
    config,
    store::{
        Ageing, Store,
        botnets::{BotnetError, Deleted, NodeSelection},
    },
};
use sqlx::{Executor, PgPool};
use time::OffsetDateTime;

use crate::{
    botnets::{
        assert_balanced, assert_exact, botnets, botnets_with, chunk, edition, host, nodes, seen,
        sightings, upload,
    },
    database::number,
};

const DAY: Duration = Duration::from_secs(86_400);

fn settings(nodes: Duration) -> config::Botnets {
    config::Botnets {
        communications: 10 * DAY,
        raw: 5 * DAY,
        nodes,
        ..config::Botnets::default()
    }
}

fn store(pool: &PgPool, botnets: config::Botnets) -> Store {
    let ageing = Ageing {
        botnets,
        ..Ageing::default()
    };
    Store::new(pool.clone(), ageing)
}

#[tokio::test]
async fn days_past_retention_go_whole_and_statistics_stay_as_they_were() {
    let (botnets, pool, family) = botnets_with(settings(Duration::ZERO)).await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let at = upload.received_at;
    let days_ago = |n: u32| at - time::Duration::days(i64::from(n % 9));
    let sent = (0..400).map(|n| seen(n % 300, days_ago(n))).collect();
    botnets
        .store_chunk(&upload, chunk(0, edition, sent))
        .await
        .unwrap();
    assert_balanced(&pool).await;

    let store = store(&pool, settings(Duration::ZERO));
    let maintained = store
        .maintain_once(at + time::Duration::days(6))
        .await
        .unwrap();
    let dropped = |table: &str| {
        let of = maintained
            .dropped
            .iter()
            .filter(|name| name.starts_with(table));
        of.count()
    };
    // Of nine days those that end ten days before the sixth day from now; the lines of today.
    assert_eq!(dropped("botnet_communications"), 4, "{maintained:?}");
    assert_eq!(dropped("botnet_chunks"), 1, "{maintained:?}");
    assert_exact(&pool).await;
    assert_eq!((nodes(&pool).await, sightings(&pool).await), (300, 400));
}

#[tokio::test]
async fn a_key_whose_chunks_are_forgotten_is_refused_and_forgotten_later_itself() {
    let (botnets, pool, family) = botnets_with(settings(Duration::ZERO)).await;
    upload(&botnets, &family, "k").await;
    pool.execute("UPDATE botnet_uploads SET received_at = received_at - interval '7 days'")
        .await
        .unwrap();
    let error = botnets
        .begin_upload(&family, Some("k"), "sinkhole", "auto")
        .await;
    assert!(matches!(error, Err(BotnetError::KeyExpired)), "{error:?}");
    let now = OffsetDateTime::now_utc();
    assert_eq!(botnets.age_once(now, true).await.unwrap().uploads, 0);
    let later = now + time::Duration::days(5);
    assert_eq!(botnets.age_once(later, true).await.unwrap().uploads, 1);
    assert!(!upload(&botnets, &family, "k").await.known);
}

#[tokio::test]
async fn nodes_that_were_not_seen_for_long_go_with_their_share_of_the_statistics() {
    let (botnets, pool, family) = botnets_with(settings(10 * DAY)).await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let at = upload.received_at;
    let old = at - time::Duration::days(9);
    // More than one transaction deletes, and nodes between them that stay.
    let when = |n: u32| if n.is_multiple_of(3) { at } else { old };
    let sent = (0..9000).map(|n| seen(n, when(n))).collect();
    botnets
        .store_chunk(&upload, chunk(0, edition, sent))
        .await
        .unwrap();

    let now = at + time::Duration::days(2);
    assert_eq!(
        botnets.age_once(now, false).await.unwrap().nodes,
        0,
        "not its turn"
    );
    assert_eq!(botnets.age_once(now, true).await.unwrap().nodes, 6000);
    assert_eq!(nodes(&pool).await, 3000);
    assert_balanced(&pool).await;
    assert_eq!(botnets.age_once(now, true).await.unwrap().nodes, 0);
}

#[tokio::test]
async fn nodes_are_deleted_by_address_and_by_network() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let at = upload.received_at;
    let twice = (0..1400).map(|n| seen(n % 700, at - time::Duration::hours(i64::from(n % 50))));
    let sent = chunk(0, edition, twice.collect());
    botnets.store_chunk(&upload, sent).await.unwrap();
    let addresses =
        |numbers: &[u32]| NodeSelection::Addresses(numbers.iter().map(|n| host(*n).0).collect());
    let network = |text: &str| NodeSelection::Network(text.parse().unwrap());
    for (selection, gone) in [
        (addresses(&[1, 2, 7, 1, 5000]), 3),
        (addresses(&[]), 0),
        (network("45.0.0.3/32"), 1),
        (network("45.0.0.3/32"), 0),
        // 4 to 7 but for 7, which has an IPv6 address.
        (network("45.0.0.6/30"), 3),
        (network("45.0.1.0/24"), 219),
        (network("2400:3200::/32"), 99),
        (network("46.0.0.0/8"), 0),
    ] {
        let Deleted { nodes, .. } = botnets.delete_nodes(family.id, &selection).await.unwrap();
        assert_eq!(nodes, gone, "{selection:?}");
        assert_balanced(&pool).await;
    }
    let rest = botnets
        .delete_nodes(family.id, &network("0.0.0.0/0"))
        .await
        .unwrap();
    assert_eq!(rest.nodes, 700 - 3 - 1 - 3 - 219 - 99);
    let communications = "SELECT count(*) FROM botnet_communications";
    assert_eq!(number(&pool, communications).await, 0);
    assert_balanced(&pool).await;
}

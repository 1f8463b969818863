//! What sensors saw goes the same way, within a transaction of theirs.

use netmon_server::store::botnets::{BotnetError, Sighting, SourceKind, Traffic};
use time::OffsetDateTime;

use crate::{
    botnets::{assert_balanced, botnets, edition, nodes, seen, sightings},
    database::number,
};

fn flow(number: u32, at: OffsetDateTime, count: u32, bytes: u64) -> Sighting {
    Sighting {
        count,
        traffic: Some(Traffic {
            local_port: Some(443),
            inbound_packets: 1,
            inbound_bytes: bytes,
            outbound_packets: 2,
            outbound_bytes: 2 * bytes,
        }),
        ..seen(number, at)
    }
}

#[tokio::test]
async fn a_flow_counts_once_and_its_octets_add_up() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let agent = botnets
        .source(SourceKind::Agent, "00000000000000aa")
        .await
        .unwrap();
    let at = OffsetDateTime::now_utc().replace_minute(30).unwrap();
    for sightings in [
        vec![flow(1, at, 1, 100), flow(2, at, 1, 10)],
        vec![flow(1, at + time::Duration::SECOND, 0, 1000)],
        vec![seen(1, at)],
    ] {
        let prepared = botnets
            .prepare(family.id, agent, edition, &sightings)
            .await
            .unwrap();
        let mut transaction = pool.begin().await.unwrap();
        let written = prepared.write(&mut transaction).await.unwrap();
        assert_eq!(
            written.new_nodes + written.known_nodes,
            sightings.len() as u64
        );
        transaction.commit().await.unwrap();
    }
    assert_eq!((nodes(&pool).await, sightings(&pool).await), (2, 3));
    assert_balanced(&pool).await;
    let row: (i64, i64, i64, i64, i64, Vec<i32>) = sqlx::query_as(
        "SELECT count, inbound_packets, inbound_bytes, outbound_packets, outbound_bytes, local_ports
         FROM botnet_communications WHERE count = 2",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(row, (2, 2, 1100, 4, 2200, vec![443]));
}

#[tokio::test]
async fn nothing_is_left_of_a_transaction_that_is_rolled_back() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let agent = botnets
        .source(SourceKind::Agent, "00000000000000aa")
        .await
        .unwrap();
    let sighting = flow(1, OffsetDateTime::now_utc(), 1, 100);
    let prepared = botnets
        .prepare(family.id, agent, edition, &[sighting])
        .await
        .unwrap();
    let mut transaction = pool.begin().await.unwrap();
    prepared.write(&mut transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(nodes(&pool).await, 0);
    assert_eq!(number(&pool, "SELECT count(*) FROM botnet_deltas").await, 0);
}

#[tokio::test]
async fn a_family_that_is_gone_leaves_the_transaction_usable() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let ramnit = botnets.family("ramnit").await.unwrap().unwrap();
    let agent = botnets
        .source(SourceKind::Agent, "00000000000000aa")
        .await
        .unwrap();
    let sighting = [flow(1, OffsetDateTime::now_utc(), 1, 100)];
    let gone = botnets
        .prepare(family.id, agent, edition, &sighting)
        .await
        .unwrap();
    let there = botnets
        .prepare(ramnit.id, agent, edition, &sighting)
        .await
        .unwrap();
    botnets.delete_family(family.id).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let refused = gone.write(&mut transaction).await;
    assert!(
        matches!(refused, Err(BotnetError::FamilyGone)),
        "{refused:?}"
    );
    there.write(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(nodes(&pool).await, 1);
    assert_balanced(&pool).await;
}

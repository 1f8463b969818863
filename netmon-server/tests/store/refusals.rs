//! A batch that can never be stored is kept with the reason; every batch has one verdict.

use netmon_common::wire::Kind;
use netmon_server::{
    metrics::BatchRefusal,
    store::{Committed, Refused, Refusing, StoreError},
};

use crate::{
    batch::batch,
    database::{number, register, store},
};

fn refusing(agent: netmon_server::agent_id::AgentId, sequence: u64) -> Refusing<'static> {
    Refusing {
        agent,
        epoch: 1,
        kind: Kind::Unspecified,
        sequence,
        cause: BatchRefusal::InvalidRow,
        reason: "bandwidth[0].interface: \0 is not a name",
        message: b"as it came\0",
    }
}

#[tokio::test]
async fn a_batch_with_one_invalid_row_stores_nothing_and_is_kept() {
    let (store, pool, agent) = store().await;
    let other = register(&store).await;
    let mut bad = batch(1);
    bad.bandwidth[0].ingress.as_mut().unwrap().packets.pop();
    let invalid = store.validate(agent, &bad).unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "bandwidth[0].ingress.packets: 1 values for 2 samples"
    );

    let verdict = store.refuse(refusing(agent, 1)).await.unwrap();
    assert!(matches!(verdict, Committed::Refused(_)));
    let rows = store.validate(other, &batch(1)).unwrap();
    assert!(matches!(
        store.commit(&rows).await.unwrap(),
        Committed::Stored(_)
    ));

    let kept: (i64, String, String, Vec<u8>) =
        sqlx::query_as("SELECT agent_id, cause, reason, message FROM ingest_refusals")
            .fetch_one(&pool)
            .await
            .unwrap();
    let reason = "bandwidth[0].interface:  is not a name".to_owned();
    assert_eq!(
        kept,
        (
            agent.to_bigint(),
            "invalid_row".to_owned(),
            reason,
            b"as it came\0".to_vec()
        )
    );
    let stored = "SELECT count(*) FROM bandwidth_stats WHERE agent_id = ";
    assert_eq!(
        number(&pool, &format!("{stored}{}", agent.to_bigint())).await,
        0
    );
    assert_eq!(
        number(&pool, &format!("{stored}{}", other.to_bigint())).await,
        1
    );
}

#[tokio::test]
async fn the_first_verdict_stands() {
    let (store, pool, agent) = store().await;
    let rows = store.validate(agent, &batch(1)).unwrap();
    store.commit(&rows).await.unwrap();
    assert_eq!(
        store.refuse(refusing(agent, 1)).await.unwrap(),
        Committed::Duplicate
    );

    let first = store.refuse(refusing(agent, 2)).await.unwrap();
    let again = Refusing {
        cause: BatchRefusal::Malformed,
        reason: "x",
        ..refusing(agent, 2)
    };
    assert_eq!(store.refuse(again).await.unwrap(), first);
    let rows = store.validate(agent, &batch(2)).unwrap();
    assert_eq!(store.commit(&rows).await.unwrap(), first);
    assert!(matches!(
        first,
        Committed::Refused(Refused {
            cause: BatchRefusal::InvalidRow,
            ..
        })
    ));
    assert_eq!(
        number(&pool, "SELECT count(*) FROM bandwidth_stats").await,
        1
    );
}

#[tokio::test]
async fn only_the_first_hundred_messages_of_an_agent_are_kept() {
    let (store, pool, agent) = store().await;
    for sequence in 1..=103 {
        store.refuse(refusing(agent, sequence)).await.unwrap();
    }
    let other = register(&store).await;
    store.refuse(refusing(other, 1)).await.unwrap();
    assert_eq!(
        number(&pool, "SELECT count(*) FROM ingest_refusals").await,
        104
    );
    let with = "SELECT count(*) FROM ingest_refusals WHERE length(message) > 0";
    assert_eq!(number(&pool, with).await, 101);
}

#[tokio::test]
async fn a_number_no_table_can_hold_is_never_kept() {
    let (store, pool, agent) = store().await;
    let refusing = Refusing {
        epoch: u64::MAX,
        ..refusing(agent, 1)
    };
    assert!(matches!(
        store.refuse(refusing).await,
        Err(StoreError::Permanent(_))
    ));
    assert_eq!(
        number(&pool, "SELECT count(*) FROM ingest_refusals").await,
        0
    );
}

//! `netmon-server refusals` shows what was set aside, by the real binary.

use std::process::Output;

use netmon_common::wire::{Kind, Uplink, uplink};
use netmon_server::{agent_id::AgentId, metrics::BatchRefusal, store::Refusing};
use prost::Message;
use serde_json::Value;
use sqlx::PgPool;

use crate::{
    batch::batch,
    database::store,
    program::{netmon_server, text},
};

async fn refusals(pool: &PgPool, arguments: &[&str]) -> Output {
    netmon_server(pool, &[&["refusals"], arguments].concat()).await
}

async fn refused(kind: Kind, sequence: u64, message: &[u8]) -> (PgPool, AgentId) {
    let (store, pool, agent) = store().await;
    let refusing = Refusing {
        agent,
        epoch: 77,
        kind,
        sequence,
        cause: BatchRefusal::InvalidRow,
        reason: "bandwidth[0].interface: it is not a name",
        message,
    };
    store.refuse(refusing).await.unwrap();
    (pool, agent)
}

#[tokio::test]
async fn refusals_are_listed_as_a_table_and_as_json() {
    let (pool, agent) = refused(Kind::Bandwidth, 5, b"as it came").await;
    let table = refusals(&pool, &["list"]).await;
    assert!(table.status.success(), "{}", text(&table.stderr));
    let line = text(&table.stdout).lines().nth(1).unwrap().to_owned();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(
        words[1..7],
        [
            &agent.to_string(),
            "77",
            "bandwidth",
            "5",
            "invalid_row",
            "10"
        ]
    );
    assert!(
        line.ends_with("bandwidth[0].interface: it is not a name"),
        "{line}"
    );

    let json = refusals(&pool, &["list", "--format", "json", "--agent", "host"]).await;
    let list: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(list[0]["agent"], agent.to_string());
    assert_eq!(list[0]["message_bytes"], 10);
    let nobody = refusals(&pool, &["list", "--agent", "nobody"]).await;
    assert!(!nobody.status.success());
    assert!(text(&nobody.stderr).contains("no agent has the id or alias \"nobody\""));
}

#[tokio::test]
async fn one_refusal_is_shown_with_its_content_and_exported_as_it_came() {
    let message = Some(uplink::Message::Batch(batch(5)));
    let message = Uplink { message }.encode_to_vec();
    let (pool, agent) = refused(Kind::Unspecified, 5, &message).await;
    let which = [&agent.to_string(), "77", "unspecified", "5"];
    let shown = refusals(&pool, &[&["show"], &which[..]].concat()).await;
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("1 interfaces, 1 bandwidth frames, 1 exchanges"),
        "{shown}"
    );
    let exported = refusals(&pool, &[&["export"], &which[..]].concat()).await;
    assert_eq!(exported.stdout, message);

    let unknown = refusals(&pool, &["show", &agent.to_string(), "77", "system", "5"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("`refusals list` shows those that were"));
}

#[tokio::test]
async fn without_a_refusal_the_list_says_so_and_the_exit_status_is_0() {
    let (_, pool, _) = store().await;
    let list = refusals(&pool, &["list"]).await;
    assert!(list.status.success());
    assert_eq!(text(&list.stdout), "no batch was refused\n");
}

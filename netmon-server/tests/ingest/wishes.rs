//! What is wished of NTP monitoring reaches the agents.

use std::time::{Duration, Instant};

use netmon_common::wire::{NtpMonitoring, NtpWish};
use netmon_server::{agent_id::AgentId, ingest::Limits};
use sqlx::PgPool;

use crate::{batch::batch, server::Server};

/// Something is wished of an agent as the API writes it; gives the number of the change.
async fn wish(pool: &PgPool, agent: AgentId, interface: &str, monitored: bool) -> i64 {
    let mut transaction = pool.begin().await.unwrap();
    let revision: i64 = sqlx::query_scalar(
        "INSERT INTO ntp_wish_revisions AS r VALUES ($1, 1, clock_timestamp())
         ON CONFLICT (agent_id) DO UPDATE SET
             revision = r.revision + 1, changed_at = EXCLUDED.changed_at
         RETURNING revision",
    )
    .bind(agent.to_bigint())
    .fetch_one(&mut *transaction)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO ntp_wishes VALUES ($1, $2, $3, '{123,1123}', 2000, $4, clock_timestamp())
         ON CONFLICT (agent_id, interface) DO UPDATE SET
             monitored = EXCLUDED.monitored, revision = EXCLUDED.revision",
    )
    .bind(agent.to_bigint())
    .bind(interface)
    .bind(monitored)
    .bind(revision)
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    revision
}

fn wished(revision: u64, interfaces: &[(&str, bool)]) -> NtpMonitoring {
    let interfaces = interfaces.iter().map(|(name, monitored)| NtpWish {
        name: (*name).to_owned(),
        monitored: *monitored,
        ports: vec![123, 1123],
        timeout_ms: 2000,
    });
    NtpMonitoring {
        revision,
        interfaces: interfaces.collect(),
    }
}

#[tokio::test]
async fn an_agent_is_told_all_wishes_when_it_connects_and_whenever_they_change() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    // Of a new agent nothing is wished: it is told that too, since it may remember something else.
    assert_eq!(agent.wished().await, wished(0, &[]));
    agent.deliver(&batch(1)).await;
    wish(&server.pool, agent.id, "eth0", false).await;
    server.prompt.look();
    let started = Instant::now();
    assert_eq!(agent.wished().await, wished(1, &[("eth0", false)]));
    println!("told after {:?}", started.elapsed());
    wish(&server.pool, agent.id, "eth1", true).await;
    server.prompt.look();
    let both = wished(2, &[("eth0", false), ("eth1", true)]);
    assert_eq!(agent.wished().await, both);

    agent.connection.close(0_u8.into(), b"");
    wish(&server.pool, agent.id, "eth0", true).await;
    let mut agent = server.agent_with(agent.id).await;
    let all = wished(3, &[("eth0", true), ("eth1", true)]);
    assert_eq!(agent.wished().await, all, "what was wished meanwhile");
    agent.deliver(&batch(2)).await;
}

#[tokio::test]
async fn a_change_over_another_server_is_found_without_a_prompt_and_told_once() {
    let server = Server::start().await;
    let other = Server::on(server.pool.clone(), Limits::default()).await;
    let (mut agent, mut bystander) = (server.agent().await, server.agent().await);
    let mut elsewhere = other.agent().await;
    for agent in [&mut agent, &mut bystander, &mut elsewhere] {
        agent.wished().await;
        agent.deliver(&batch(1)).await;
    }
    let started = Instant::now();
    wish(&server.pool, agent.id, "eth0", false).await;
    other.prompt.look();
    assert_eq!(agent.wished().await, wished(1, &[("eth0", false)]));
    let took = started.elapsed();
    println!("found after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Several more looks find nothing new.
    tokio::time::sleep(Duration::from_millis(1700)).await;
    for agent in [&mut agent, &mut bystander, &mut elsewhere] {
        assert!(!agent.is_told_more().await);
    }
}

#[tokio::test]
async fn changes_that_follow_each_other_at_once_end_with_the_last() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    agent.wished().await;
    agent.deliver(&batch(1)).await;
    for turn in 0..50 {
        wish(&server.pool, agent.id, "eth0", turn % 2 == 0).await;
        server.prompt.look();
    }
    let mut told = 0;
    loop {
        let NtpMonitoring { revision, .. } = agent.wished().await;
        assert!(revision >= told, "{revision} after {told}");
        told = revision;
        if told == 50 {
            break;
        }
    }
}

//! Writers: groups of several agents, fair to each, bounded in memory, and unharmed by one bad batch.

use std::time::{Duration, Instant};

use netmon_common::wire::{Batch, RefusalCause};
use netmon_server::ingest::{Flush, Limits};

use crate::{
    agent::{Agent, Reply, uplink},
    batch::{answered, batch, frame},
    database::number,
    server::Server,
};

/// Has the database do something to frames of an interface.
pub async fn trigger(server: &Server, interface: &str, does: &str) {
    let statement = format!(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.interface = '{interface}' THEN {does}; END IF; RETURN NEW; END $$;
         CREATE TRIGGER look BEFORE INSERT ON bandwidth_stats FOR EACH ROW EXECUTE FUNCTION look()"
    );
    sqlx::raw_sql(&statement)
        .execute(&server.pool)
        .await
        .unwrap();
}

pub fn with_frame(sequence: u64, interface: &str) -> Batch {
    let mut batch = batch(sequence);
    batch.bandwidth = vec![frame(interface, batch.sealed_at_unix_ns)];
    batch
}

/// Groups form while a batch waits so long.
pub fn patient(limits: Limits) -> Limits {
    Limits {
        flush: Flush {
            interval: Duration::from_millis(300),
            ..limits.flush
        },
        ..limits
    }
}

async fn agents(server: &Server, count: usize) -> Vec<Agent> {
    let mut agents = Vec::new();
    for _ in 0..count {
        agents.push(server.agent().await);
    }
    agents
}

/// The sum and the count of a histogram.
fn histogram(server: &Server, name: &str) -> (u64, u64) {
    let of = |part| server.metric(&format!("netmon_server_{name}_{part}"));
    (of("sum"), of("count"))
}

#[tokio::test]
async fn batches_of_many_agents_share_transactions() {
    let server = Server::with(patient(Limits::default())).await;
    let mut agents = agents(&server, 12).await;
    for agent in &agents {
        agent.send_batch(&batch(1)).await;
    }
    for agent in &mut agents {
        assert_eq!(agent.reply().await, Reply::Acknowledged(vec![1]));
    }
    let (batches, groups) = histogram(&server, "group_batches");
    assert_eq!(batches, 12);
    assert!(groups <= 6, "{groups} transactions");
    assert!(server.metric("netmon_server_writer_flushes_total{cause=\"time\"}") > 0);
}

#[tokio::test]
async fn a_poison_batch_is_found_refused_and_kept_and_the_others_are_stored() {
    let server = Server::with(patient(Limits::default())).await;
    trigger(
        &server,
        "poison",
        "RAISE EXCEPTION 'no such' USING ERRCODE = '22003'",
    )
    .await;
    let mut agents = agents(&server, 16).await;
    for (index, agent) in agents.iter().enumerate() {
        let interface = if index == 5 { "poison" } else { "eth0" };
        agent.send_batch(&with_frame(1, interface)).await;
    }
    for (index, agent) in agents.iter_mut().enumerate() {
        match agent.reply().await {
            Reply::Refused(1, RefusalCause::InvalidRow, reason) if index == 5 => {
                assert!(reason.contains("no such"), "{reason}");
            }
            Reply::Acknowledged(sequences) if index != 5 => assert_eq!(sequences, [1]),
            other => panic!("{index}: {other:?}"),
        }
    }
    let stored = number(&server.pool, "SELECT count(*) FROM bandwidth_stats").await;
    let kept = number(&server.pool, "SELECT count(*) FROM ingest_refusals").await;
    assert_eq!((stored, kept), (15, 1));
    assert!(server.metric("netmon_server_group_bisections_total") > 0);
    assert_eq!(
        server.metric("netmon_server_batches_total{result=\"committed\"}"),
        15
    );
}

#[tokio::test]
async fn rows_that_vanish_hold_up_their_own_batch_alone_until_they_stay() {
    let server = Server::with(patient(Limits::default())).await;
    trigger(&server, "hole", "RETURN NULL").await;
    let mut agents = agents(&server, 8).await;
    for (index, agent) in agents.iter().enumerate() {
        let interface = if index == 0 { "hole" } else { "eth0" };
        agent.send_batch(&with_frame(1, interface)).await;
    }
    // Those behind it in its worker's queue wait for the next group.
    server
        .metric_becomes("netmon_server_batches_total{result=\"committed\"}", 7)
        .await;
    assert!(server.metric("netmon_server_count_mismatches_total") > 0);
    sqlx::raw_sql("DROP TRIGGER look ON bandwidth_stats")
        .execute(&server.pool)
        .await
        .unwrap();
    for agent in &mut agents {
        assert_eq!(agent.reply().await, Reply::Acknowledged(vec![1]));
    }
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM bandwidth_stats").await,
        8
    );
}

#[tokio::test]
async fn rows_without_their_ledger_rows_go_through_the_staging_table() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    agent.deliver(&batch(1)).await;
    sqlx::query("DELETE FROM ingest_ledger")
        .execute(&server.pool)
        .await
        .unwrap();
    let again = batch(1);
    // Its frame stands at the time of the first.
    sqlx::query("UPDATE bandwidth_stats SET started_at = $1")
        .bind(
            time::OffsetDateTime::from_unix_timestamp_nanos(
                i128::from(again.bandwidth[0].started_at_unix_ns) / 1000 * 1000,
            )
            .unwrap(),
        )
        .execute(&server.pool)
        .await
        .unwrap();
    agent.deliver(&again).await;
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM bandwidth_stats").await,
        1
    );
    assert_eq!(server.metric("netmon_server_staged_groups_total"), 1);
    assert_eq!(server.metric("netmon_server_staged_rows_present_total"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_ten_thousand_batches_does_not_delay_another_agent() {
    let limits = Limits {
        flush: Flush {
            interval: Duration::from_millis(5),
            rows: 40,
            bytes: 1 << 20,
        },
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    let (mut busy, mut other) = (server.agent().await, server.agent().await);
    let sender = busy.connection.clone();
    let backlog = tokio::spawn(async move {
        let message = batch(1);
        for sequence in 1..=10_000 {
            let mut batch = message.clone();
            batch.sequence = sequence;
            batch.exchanges.clear();
            batch.bandwidth[0].started_at_unix_ns += sequence as i64 * 1000;
            let Ok(mut stream) = sender.open_uni().await else {
                return;
            };
            if stream.write_all(&uplink(&batch)).await.is_err() || stream.finish().is_err() {
                return;
            }
        }
    });
    let committed = "netmon_server_batches_total{result=\"committed\"}";
    let taking = tokio::spawn(async move { while busy.try_reply().await.is_ok() {} });
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.metric(committed) < 500 {
        assert!(Instant::now() < deadline, "the backlog moves");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut most = 0;
    for sequence in 1..=10 {
        let before = server.metric(committed);
        other.deliver(&batch(sequence)).await;
        most = most.max(server.metric(committed) - before);
    }
    assert!(!backlog.is_finished(), "the backlog was there all the time");
    // The group under way, the one it is in, and some that end while the answer travels.
    assert!(most <= 400, "{most} batches of the backlog went first");
    backlog.abort();
    taking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stands_still_fills_no_memory_and_loses_nothing() {
    let limits = Limits {
        small_messages: 48,
        large_messages: 6,
        queue: 32,
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    let mut agents = agents(&server, 6).await;
    for agent in &mut agents {
        agent.deliver(&batch(1)).await;
    }
    let mut holder = server.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE ingest_ledger")
        .execute(&mut *holder)
        .await
        .unwrap();
    const BATCHES: u64 = 60;
    let mut sending = Vec::new();
    for agent in &agents {
        let connection = agent.connection.clone();
        sending.push(tokio::spawn(async move {
            let exchanges = vec![answered(1, batch(1).sealed_at_unix_ns); 400];
            for sequence in 2..=BATCHES {
                let batch = Batch {
                    exchanges: exchanges.clone(),
                    ..batch(sequence)
                };
                let mut stream = connection.open_uni().await.unwrap();
                stream.write_all(&uplink(&batch)).await.unwrap();
                stream.finish().unwrap();
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    // 350 batches of 60 KiB are on their way; a few of them are in.
    let received = server.metric("netmon_server_received_bytes_total");
    assert!(received < 6 << 20, "{received} octets were taken");
    let waiting = server.metric("netmon_server_writer_queue_batches{lane=\"other\"}");
    assert!(waiting <= 64, "{waiting} batches wait");
    assert!(!sending.iter().all(|task| task.is_finished()));

    holder.rollback().await.unwrap();
    for agent in &mut agents {
        let mut acknowledged = 0;
        while acknowledged < BATCHES as usize - 1 {
            match agent.reply().await {
                Reply::Acknowledged(sequences) => acknowledged += sequences.len(),
                other => panic!("{other:?}"),
            }
        }
    }
    let expected = 6 * BATCHES as i64;
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM ingest_ledger").await,
        expected
    );
    let exchanges = number(&server.pool, "SELECT count(*) FROM ntp_exchanges").await;
    assert_eq!(exchanges, 6 + (expected - 6) * 400);
    assert_eq!(
        server.metric("netmon_server_writer_queue_batches{lane=\"other\"}"),
        0
    );
    assert_eq!(
        server.metric("netmon_server_writer_queue_bytes{lane=\"other\"}"),
        0
    );
}

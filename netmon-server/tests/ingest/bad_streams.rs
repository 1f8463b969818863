//! What is not a good batch is counted and refused, and other agents go on.

use std::time::Duration;

use netmon_common::wire::{MAX_UPLINK_BYTES, RefusalCause};
use netmon_server::ingest::{Limits, close};

use crate::{
    agent::{Reply, uplink},
    batch::batch,
    database::number,
    server::Server,
};

/// A metric of streams.
fn streams(cause: &str) -> String {
    format!("netmon_server_stream_failures_total{{cause=\"{cause}\"}}")
}

fn refusals(cause: &str) -> String {
    format!("netmon_server_batch_refusals_total{{cause=\"{cause}\"}}")
}

#[tokio::test]
async fn garbage_is_counted_and_the_connection_stays() {
    let server = Server::start().await;
    let (mut bad, mut good) = (server.agent().await, server.agent().await);
    for octets in [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".as_slice(),
        b"GET / HTTP/1.1\r\n",
    ] {
        bad.send(octets).await;
    }
    server.metric_becomes(&streams("garbage"), 2).await;
    good.deliver(&batch(1)).await;
    bad.deliver(&batch(1)).await;
}

#[tokio::test]
async fn a_truncated_batch_is_counted_and_may_come_again_whole() {
    let server = Server::start().await;
    let (mut bad, mut good) = (server.agent().await, server.agent().await);
    let octets = uplink(&batch(1));
    bad.send(&octets[..octets.len() - 1]).await;
    bad.send(b"").await;
    server.metric_becomes(&streams("truncated"), 2).await;
    let mut stream = bad.connection.open_uni().await.unwrap();
    stream.write_all(&octets[..10]).await.unwrap();
    stream.reset(9_u8.into()).unwrap();
    // A stream reset before its first octet is never seen.
    tokio::time::sleep(Duration::from_millis(200)).await;
    good.deliver(&batch(1)).await;
    bad.deliver(&batch(1)).await;
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM ingest_ledger").await,
        2
    );
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM ingest_refusals").await,
        0
    );
}

#[tokio::test]
async fn a_reset_stream_is_counted() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    let mut stream = agent.connection.open_uni().await.unwrap();
    stream.write_all(&uplink(&batch(1))[..10]).await.unwrap();
    // Until the server surely reads it.
    agent.deliver(&batch(2)).await;
    stream.reset(9_u8.into()).unwrap();
    server.metric_becomes(&streams("reset"), 1).await;
    agent.deliver(&batch(1)).await;
}

#[tokio::test]
async fn an_oversized_batch_is_stopped_refused_and_counted() {
    let server = Server::start().await;
    let (mut bad, mut good) = (server.agent().await, server.agent().await);
    let mut batch_of_2_mib = batch(1);
    batch_of_2_mib.exchanges[0].null_reason = "x".repeat(2 * MAX_UPLINK_BYTES);
    let mut stream = bad.connection.open_uni().await.unwrap();
    let error = stream
        .write_all(&uplink(&batch_of_2_mib))
        .await
        .unwrap_err();
    assert_eq!(error, quinn::WriteError::Stopped(close::OVERSIZED));
    match bad.reply().await {
        Reply::Refused(1, RefusalCause::Oversized, _) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(server.metric(&streams("oversized")), 1);
    assert_eq!(server.metric(&refusals("oversized")), 1);
    good.deliver(&batch(1)).await;
    bad.deliver(&batch(2)).await;
}

#[tokio::test]
async fn a_batch_that_does_not_decode_is_refused_and_kept() {
    let server = Server::start().await;
    let (mut bad, mut good) = (server.agent().await, server.agent().await);
    let mut octets = uplink(&batch(1));
    // The interface's name is no longer UTF-8.
    let name = octets
        .windows(4)
        .position(|window| window == b"eth0")
        .unwrap();
    octets[name] = 0xff;
    bad.send(&octets).await;
    match bad.reply().await {
        Reply::Refused(1, RefusalCause::Malformed, _) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(server.metric(&refusals("malformed")), 1);
    let kept: Vec<u8> = sqlx::query_scalar("SELECT message FROM ingest_refusals")
        .fetch_one(&server.pool)
        .await
        .unwrap();
    assert_eq!(kept, octets);
    good.deliver(&batch(1)).await;
}

#[tokio::test]
async fn a_batch_with_one_invalid_row_is_refused_whole() {
    let server = Server::start().await;
    let (mut bad, mut good) = (server.agent().await, server.agent().await);
    let mut invalid = batch(1);
    invalid.exchanges[0].client_port = 70_000;
    for _ in 0..2 {
        bad.send_batch(&invalid).await;
        match bad.reply().await {
            Reply::Refused(1, RefusalCause::InvalidRow, reason) => {
                assert_eq!(reason, "exchanges[0].client_port: 70000 is more than 65535");
            }
            other => panic!("{other:?}"),
        }
    }
    good.deliver(&batch(1)).await;
    bad.deliver(&batch(2)).await;
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM bandwidth_stats").await,
        2
    );
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM ingest_refusals").await,
        1
    );
    assert_eq!(server.metric(&refusals("invalid_row")), 2);
}

#[tokio::test]
async fn a_batch_number_no_table_can_hold_is_refused_too() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    agent
        .send_batch(&netmon_common::wire::Batch {
            sequence: u64::MAX,
            ..batch(1)
        })
        .await;
    match agent.reply().await {
        Reply::Refused(u64::MAX, RefusalCause::InvalidRow, _) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_that_stops_coming_ends_its_connection_and_no_other() {
    let patience = Duration::from_millis(500);
    let server = Server::with(Limits {
        patience,
        ..Limits::default()
    })
    .await;
    let (bad, mut good) = (server.agent().await, server.agent().await);
    // As many as the server takes of one agent.
    let mut streams = Vec::new();
    for sequence in 1..=64 {
        let mut stream = bad.connection.open_uni().await.unwrap();
        stream
            .write_all(&uplink(&batch(sequence))[..20])
            .await
            .unwrap();
        streams.push(stream);
    }
    good.deliver(&batch(1)).await;
    assert_eq!(bad.closed().await.0, close::STALLED.into_inner());
    good.deliver(&batch(2)).await;
    assert!(server.metric("netmon_server_connections_closed_total{cause=\"stalled\"}") > 0);
}

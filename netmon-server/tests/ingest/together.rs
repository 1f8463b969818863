//! Batches that travel on one stream: each gets its own verdict.

use std::collections::BTreeSet;

use netmon_common::wire::{Batch, MAX_STREAM_BATCHES, RefusalCause};

use crate::{
    agent::{Agent, Reply, uplink},
    batch::batch,
    database::number,
    server::Server,
    writers::{patient, trigger, with_frame},
};

const BATCHES: &str = "SELECT count(*) FROM ingest_ledger WHERE row_count IS NOT NULL";

fn together<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Vec<u8> {
    batches.into_iter().flat_map(uplink).collect()
}

/// Acknowledgements until these have come, in whatever messages.
async fn acknowledged(agent: &mut Agent, wanted: impl IntoIterator<Item = u64>) {
    let mut open: BTreeSet<u64> = wanted.into_iter().collect();
    while !open.is_empty() {
        match agent.reply().await {
            Reply::Acknowledged(sequences) => {
                for sequence in sequences {
                    assert!(open.remove(&sequence), "{sequence} twice or never sent");
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn all_batches_of_a_stream_are_stored_in_one_transaction_and_acknowledged_at_once() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    let batches: Vec<_> = (1..=MAX_STREAM_BATCHES as u64).map(batch).collect();
    agent.send(&together(&batches)).await;
    let all = Vec::from_iter(1..=MAX_STREAM_BATCHES as u64);
    assert_eq!(agent.reply().await, Reply::Acknowledged(all));
    let of_one_transaction = "SELECT count(DISTINCT xmin::text) FROM ingest_ledger";
    assert_eq!(number(&server.pool, of_one_transaction).await, 1);
    assert_eq!(number(&server.pool, BATCHES).await, 64);
}

#[tokio::test]
async fn duplicates_and_invalid_batches_leave_their_neighbours_alone() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    agent.deliver(&batch(2)).await;
    let mut invalid = batch(3);
    invalid.exchanges[0].client_port = 70_000;
    // Whole, and wrong inside: the last varint has no end.
    let mut broken = uplink(&Batch {
        epoch: 1,
        sequence: 5,
        sealed_at_unix_ns: 1,
        ..Batch::default()
    });
    *broken.last_mut().unwrap() = 0x80;
    let octets = [
        together([&batch(1), &batch(2), &invalid]),
        together([&batch(4)]),
        broken,
        together([&batch(6), &batch(6)]),
    ];
    agent.send(&octets.concat()).await;
    let mut refused = Vec::new();
    while refused.len() < 2 {
        match agent.reply().await {
            Reply::Refused(sequence, cause, _) => refused.push((sequence, cause)),
            other => panic!("{other:?}"),
        }
    }
    refused.sort_by_key(|(sequence, _)| *sequence);
    assert_eq!(
        refused,
        [(3, RefusalCause::InvalidRow), (5, RefusalCause::Malformed)]
    );
    assert_eq!(
        agent.reply().await,
        Reply::Acknowledged(vec![1, 2, 4, 6, 6])
    );
    assert_eq!(number(&server.pool, BATCHES).await, 4);
    let kept = "SELECT count(*) FROM ingest_refusals WHERE length(message) > 0";
    assert_eq!(number(&server.pool, kept).await, 2);
    let rows = "SELECT count(*) FROM bandwidth_stats";
    assert_eq!(number(&server.pool, rows).await, 4);
    assert_eq!(
        server.metric("netmon_server_batches_total{result=\"duplicate\"}"),
        2
    );
}

#[tokio::test]
async fn a_batch_that_has_to_wait_keeps_no_neighbour_waiting() {
    let server = Server::with(patient(Default::default())).await;
    trigger(&server, "hole", "RETURN NULL").await;
    let mut agent = server.agent().await;
    let batches = (1..=5).map(|n| with_frame(n, if n == 3 { "hole" } else { "eth0" }));
    agent.send(&together(&Vec::from_iter(batches))).await;
    acknowledged(&mut agent, [1, 2, 4, 5]).await;
    sqlx::raw_sql("DROP TRIGGER look ON bandwidth_stats")
        .execute(&server.pool)
        .await
        .unwrap();
    acknowledged(&mut agent, [3]).await;
    assert_eq!(number(&server.pool, BATCHES).await, 5);
}

#[tokio::test]
async fn batches_of_several_kinds_may_share_a_stream() {
    use netmon_common::wire::Kind;
    let server = Server::start().await;
    let mut agent = server.agent().await;
    let of = |sequence, kind: Kind| {
        let mut batch = batch(sequence);
        batch.kind = kind.into();
        match kind {
            Kind::Bandwidth => batch.exchanges.clear(),
            _ => batch.bandwidth.clear(),
        }
        batch
    };
    let batches = [
        of(1, Kind::Bandwidth),
        of(2, Kind::Bandwidth),
        of(1, Kind::Exchanges),
    ];
    agent.send(&together(&batches)).await;
    let mut told = Vec::new();
    while told.iter().map(Vec::len).sum::<usize>() < 3 {
        let message = agent.acknowledgement().await;
        let through = message.sequences.iter().map(|n| (message.kind(), *n));
        told.push(Vec::from_iter(through));
    }
    assert_eq!(
        told.concat(),
        [
            (Kind::Bandwidth, 1),
            (Kind::Bandwidth, 2),
            (Kind::Exchanges, 1)
        ]
    );
}

#[tokio::test]
async fn a_stream_that_ends_within_its_last_batch_leaves_no_verdict() {
    let server = Server::start().await;
    let mut agent = server.agent().await;
    let octets = together([&batch(1), &batch(2)]);
    agent.send(&octets[..octets.len() - 1]).await;
    server
        .metric_becomes(
            "netmon_server_stream_failures_total{cause=\"truncated\"}",
            1,
        )
        .await;
    assert_eq!(number(&server.pool, BATCHES).await, 0);
    agent.send(&octets).await;
    acknowledged(&mut agent, [1, 2]).await;
}

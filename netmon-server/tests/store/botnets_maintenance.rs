//! What goes on behind the writers, and what the metrics show of all.

use std::{sync::Arc, time::Duration};

use netmon_server::{
    config,
    live::LiveBoard,
    metrics::Metrics,
    store::{Store, botnets::Botnets},
};
use tokio_util::sync::CancellationToken;

use crate::{
    botnets::{assert_balanced, chunk, edition, nodes, seen, upload},
    database::{RETENTION, cluster, database, number},
};

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_folded_and_removed_families_go_until_the_shutdown() {
    let pool = database(cluster().await).await;
    let metrics = Arc::new(Metrics::new());
    let settings = config::Botnets::default();
    let botnets = Arc::new(Botnets::new(pool.clone(), &settings).with_metrics(&metrics));
    let mozi = botnets.family("mozi").await.unwrap().unwrap();
    let ramnit = botnets.family("ramnit").await.unwrap().unwrap();
    let edition = edition(&botnets).await;
    for family in [&mozi, &ramnit] {
        let upload = upload(&botnets, family, "k").await;
        let mut sent = chunk(
            0,
            edition,
            (0..200).map(|n| seen(n, upload.received_at)).collect(),
        );
        sent.figures.lines += 3;
        sent.figures.rejected += 2;
        sent.rejections.add(1, "multicast");
        sent.rejections.add(2, "bad_time");
        for _ in 0..2 {
            botnets.store_chunk(&upload, sent.clone()).await.unwrap();
        }
    }
    botnets.delete_family(ramnit.id).await.unwrap();

    let shutdown = CancellationToken::new();
    let task = {
        let (botnets, metrics, shutdown) =
            (Arc::clone(&botnets), Arc::clone(&metrics), shutdown.clone());
        let store = Store::new(pool.clone(), RETENTION);
        tokio::spawn(async move { botnets.maintain(&store, &metrics, shutdown).await })
    };
    let is_done = async || {
        number(&pool, "SELECT count(*) FROM botnet_deltas").await == 0 && nodes(&pool).await == 200
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        while !is_done().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("what is left is folded and removed");
    assert_balanced(&pool).await;
    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), task).await;
    ended.expect("it ends with the shutdown").unwrap();

    let text = metrics.render(&LiveBoard::new(), 10);
    for line in [
        "chunks_total{result=\"stored\"} 2",
        "chunks_total{result=\"known\"} 2",
        "lines_total{result=\"accepted\"} 400",
        "lines_total{result=\"rejected\"} 4",
        "lines_total{result=\"skipped\"} 2",
        "lines_rejected_total{cause=\"special_address\"} 2",
        "lines_rejected_total{cause=\"time\"} 2",
        "sightings_total 400",
        "nodes_written_total{node=\"new\"} 400",
        "nodes_deleted_total 200",
        "commit_duration_seconds_count 2",
        "uploads 0",
        "deltas 0",
        "failures_total{cause=\"mismatch\"} 0",
    ] {
        let line = format!("netmon_server_botnet_{line}");
        assert!(text.lines().any(|of| of == line), "{line} in\n{text}");
    }
}

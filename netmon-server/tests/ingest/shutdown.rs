//! At shutdown what is under way is finished, and every agent is told.

use std::time::Duration;

use netmon_server::ingest::{Limits, close};

use crate::{
    agent::Reply,
    batch::batch,
    cluster::Cluster,
    database::{database, number},
    server::Server,
};

#[tokio::test]
async fn a_commit_under_way_is_finished_and_acknowledged() {
    let server = Server::start().await;
    let (mut busy, idle) = (server.agent().await, server.agent().await);
    busy.deliver(&batch(1)).await;
    // Holds up the next commit at its last statement.
    let mut holder = server.pool.begin().await.unwrap();
    let hold = "UPDATE agents SET hostname = 'held' WHERE agent_id = $1";
    sqlx::query(hold)
        .bind(busy.id.to_bigint())
        .execute(&mut *holder)
        .await
        .unwrap();
    busy.send_batch(&batch(2)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    server.shutdown.cancel();
    assert_eq!(
        idle.closed().await,
        (
            close::SHUTTING_DOWN.into_inner(),
            "shutting down".to_owned()
        )
    );
    holder.commit().await.unwrap();
    assert_eq!(busy.reply().await, Reply::Acknowledged(vec![2]));
    assert_eq!(busy.closed().await.0, close::SHUTTING_DOWN.into_inner());
    server.task.await.unwrap();
    assert_eq!(
        number(&server.pool, "SELECT count(*) FROM bandwidth_stats").await,
        2
    );
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_database_that_is_away() {
    let mut cluster = Cluster::start().await;
    let limits = Limits {
        drain: Duration::from_secs(1),
        ..Limits::default()
    };
    let server = Server::on(database(&cluster).await, limits).await;
    let mut agent = server.agent().await;
    agent.deliver(&batch(1)).await;
    cluster.kill();
    for sequence in 2..=60 {
        agent.send_batch(&batch(sequence)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.shutdown.cancel();
    assert_eq!(agent.closed().await.0, close::SHUTTING_DOWN.into_inner());
    let ended = tokio::time::timeout(Duration::from_secs(15), server.task).await;
    ended.expect("the server ends in time").unwrap();
}

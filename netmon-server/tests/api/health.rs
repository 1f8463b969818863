//! `/livez` and `/readyz`.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde_json::json;

use crate::{
    cluster::Cluster,
    server::{Server, migrated},
};

#[tokio::test]
async fn a_server_that_starts_is_live_but_not_ready() {
    let server = Server::start().await;
    server.ready.store(false, Ordering::Release);
    assert_eq!(server.json("/livez").await, json!({"status": "live"}));
    for uri in ["/readyz", "/api/v1/agents"] {
        let answer = server.get(uri).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{uri}");
        assert_eq!(answer.json()["code"], "not_ready", "{uri}");
        assert_eq!(answer.header("retry-after"), "2", "{uri}");
    }
    server.ready.store(true, Ordering::Release);
    assert_eq!(server.json("/readyz").await, json!({"status": "ready"}));
}

#[tokio::test]
async fn a_server_is_ready_while_its_database_answers() {
    let mut cluster = Cluster::start().await;
    migrated(&cluster, "netmon").await;
    let server = Server::over(&cluster, "netmon");
    assert_eq!(server.json("/readyz").await, json!({"status": "ready"}));

    cluster.kill();
    for uri in ["/readyz", "/api/v1/agents", "/api/v1/agents/edge/live"] {
        let answer = server.get(uri).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{uri}");
        assert_eq!(answer.json()["code"], "database_unavailable", "{uri}");
    }
    assert_eq!(server.get("/livez").await.status, StatusCode::OK);
    assert_eq!(server.get("/metrics").await.status, StatusCode::OK);

    cluster.restart().await;
    assert_eq!(server.json("/readyz").await, json!({"status": "ready"}));
    assert_eq!(server.json("/api/v1/agents").await["items"], json!([]));
}

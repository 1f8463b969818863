//! Forgetting clients and servers.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{ntp_search::server, server::Server};

const BEFORE: &str = "2026-11-20T09:05:00Z";

async fn clients(server: &Server) -> i64 {
    let page = server.post("/api/v1/ntp/search", &json!({})).await.json();
    page["total"].as_i64().unwrap()
}

#[tokio::test]
async fn a_dry_run_counts_what_a_cleanup_then_forgets() {
    let server = server().await;
    for (dry_run, left) in [(true, 10), (false, 6)] {
        let body = json!({"before": BEFORE, "dry_run": dry_run});
        let answer = server.post("/api/v1/ntp/cleanup", &body).await;
        let expected = json!({
            "dry_run": dry_run, "before": BEFORE, "clients": 4, "servers": 2,
        });
        assert_eq!(answer.json(), expected);
        assert_eq!(clients(&server).await, left);
    }
}

#[tokio::test]
async fn what_is_to_be_forgotten_must_be_said() {
    let server = server().await;
    for body in [
        json!({}),
        json!({"dry_run": true}),
        json!({"before": BEFORE, "older_than_days": 3}),
        json!({"before": "yesterday"}),
        json!({"older_than_days": 100_000}),
        json!({"older_than_days": -1}),
    ] {
        let answer = server.post("/api/ntp/history/cleanup", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(clients(&server).await, 10);
    let answer = server
        .post(
            "/api/ntp/history/cleanup",
            &json!({"older_than_days": 36_00}),
        )
        .await;
    assert_eq!(answer.json()["clients"], 0);
    assert_eq!(answer.json()["dry_run"], Value::Bool(false));
}

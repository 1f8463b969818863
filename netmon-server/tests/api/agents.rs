//! `/api/v1/agents` and `/api/v1/agents/{agent}`.

use axum::http::StatusCode;
use netmon_server::agent_id::AgentId;
use serde_json::{Value, json};

use crate::server::Server;

fn edge(connected: bool) -> Value {
    json!({
        "id": "0000000000000001",
        "alias": "edge",
        "hostname": "edge.example",
        "agent_version": "0.1.0",
        "kernel_release": "6.1.0",
        "epoch": 1_795_000_000_000_i64,
        "first_seen": "2026-11-20T08:00:00Z",
        "last_seen": "2026-11-20T09:30:00.25Z",
        "connected": connected,
    })
}

#[tokio::test]
async fn no_agents_are_an_empty_list() {
    let server = Server::start().await;
    assert_eq!(
        server.json("/api/v1/agents").await,
        json!({"items": [], "next_cursor": null})
    );
}

#[tokio::test]
async fn an_agent_is_found_by_id_and_by_alias() {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    server.live.connect(AgentId::from_bigint(1), 7);
    let list = json!({"items": [edge(true)], "next_cursor": null});
    assert_eq!(server.json("/api/v1/agents").await, list);
    for uri in ["/api/v1/agents/0000000000000001", "/api/v1/agents/edge"] {
        assert_eq!(server.json(uri).await, edge(true), "{uri}");
    }
    server.live.disconnect(AgentId::from_bigint(1), 7);
    assert_eq!(server.json("/api/v1/agents/edge").await, edge(false));
}

#[tokio::test]
async fn an_alias_may_be_any_text() {
    let server = Server::start().await;
    for (id, alias, segment) in [
        (1, "Zürich/Süd 1", "Z%C3%BCrich%2FS%C3%BCd%201"),
        (2, "100%", "100%25"),
        (3, "quote''s", "quote's"),
        (4, "ffffffffffffffff", "ffffffffffffffff"),
    ] {
        server.agent(id, alias).await;
        let agent = server.json(&format!("/api/v1/agents/{segment}")).await;
        assert_eq!(agent["id"], format!("{id:016x}"), "{alias}");
    }
}

#[tokio::test]
async fn an_id_comes_before_an_alias_that_looks_like_one() {
    let server = Server::start().await;
    server.agent(1, "0000000000000002").await;
    server.agent(2, "core").await;
    let agent = server.json("/api/v1/agents/0000000000000002").await;
    assert_eq!(agent["alias"], "core");
}

#[tokio::test]
async fn an_alias_that_several_agents_have_is_a_conflict() {
    let server = Server::start().await;
    server.agent(1, "web").await;
    server.agent(2, "web").await;
    let answer = server.get("/api/v1/agents/web").await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.json()["code"], "ambiguous_agent");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.ends_with("0000000000000001, 0000000000000002"),
        "{detail}"
    );
}

#[tokio::test]
async fn pages_hold_each_agent_once_while_others_are_added() {
    let server = Server::start().await;
    for id in [10, 20, 30, 40, 50] {
        server.agent(id, &format!("host{id}")).await;
    }
    let add = async |page: usize| {
        // One before the page just read, which is not seen, and one behind it, which is.
        let (before, behind) = (page as i64, page as i64 * 20 + 1);
        server.agent(before, "new").await;
        server.agent(behind, "new").await;
    };
    let pages = server.pages("/api/v1/agents?limit=2", add).await;
    let ids: Vec<_> = pages
        .concat()
        .iter()
        .map(|agent| agent["id"].clone())
        .collect();
    let expected: Vec<_> = [10, 20, 21, 30, 40, 41, 50, 61]
        .map(|id| json!(format!("{id:016x}")))
        .into();
    assert_eq!(ids, expected);
}

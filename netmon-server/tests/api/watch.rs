//! `/api/v1/botnets/{family}/watch` and `/api/v1/agents/{agent}/watch`.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use netmon_common::{
    watch::Held,
    wire::{Live, WatchState},
};
use netmon_server::{agent_id::AgentId, live::Sent};
use serde_json::{Value, json};

use crate::server::{Answer, Server};

const URI: &str = "/api/v1/botnets/andromeda/watch";

async fn put(server: &Server, text: impl Into<Body>) -> Answer {
    let request = Request::put(URI).body(text.into()).unwrap();
    server.answer(request).await
}

/// What a list looks like, without its time.
fn shown(mut list: Value) -> Value {
    list["changed_at"] = list["changed_at"].is_string().into();
    list
}

fn list(revision: u64, entries: u64) -> Value {
    let has_changed = revision > 0;
    json!({
        "family": "andromeda",
        "revision": revision,
        "entries": entries,
        "changed_at": has_changed,
    })
}

#[tokio::test]
async fn a_list_is_replaced_and_emptied() {
    let server = Server::start().await;
    assert_eq!(shown(server.json(URI).await), list(0, 0));
    let text = "# two\n192.0.2.1\r\n2001:db8::/32 # net\n\n192.0.2.1\n";
    let answer = put(&server, text).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(shown(answer.json()), list(1, 2));
    assert_eq!(
        shown(put(&server, "198.51.100.0/24").await.json()),
        list(2, 1)
    );
    // By an alias, too.
    let alias = "/api/v1/botnets/Gamarue/watch";
    assert_eq!(shown(server.json(alias).await), list(2, 1));
    let emptied = server.request(Method::DELETE, URI).await;
    assert_eq!(shown(emptied.json()), list(3, 0));
    assert_eq!(shown(server.json(URI).await), list(3, 0));
}

#[tokio::test]
async fn a_wrong_line_changes_nothing_and_is_named() {
    let server = Server::start().await;
    put(&server, "192.0.2.1").await;
    let answer = put(&server, "192.0.2.2\n192.0.2.3/24\n").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let problem = answer.json();
    assert_eq!(problem["code"], "invalid_body");
    assert!(
        problem["detail"].as_str().unwrap().contains("line 2"),
        "{problem}"
    );
    assert_eq!(shown(server.json(URI).await), list(1, 1));
    let nobody = server.get("/api/v1/botnets/nobody/watch").await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    assert_eq!(nobody.json()["code"], "unknown_family");
}

#[tokio::test]
async fn a_list_of_two_hundred_thousand_addresses_is_taken() {
    let server = Server::start().await;
    let text: String = (0..200_000)
        .map(|n| format!("10.{}.{}.{}\n", n >> 16, n >> 8 & 255, n & 255))
        .collect();
    let answer = put(&server, text).await;
    assert_eq!(shown(answer.json()), list(1, 200_000));
}

#[tokio::test]
async fn what_an_agent_watches_is_as_it_says() {
    const AGENT: &str = "/api/v1/agents/edge/watch";
    let server = Server::start().await;
    server.agent(1, "edge").await;
    assert_eq!(server.get(AGENT).await.json()["code"], "no_live_data");
    let say = |stream, watch: Option<WatchState>| {
        let live = Live {
            at_unix_ns: 1_795_000_000_000_000_000,
            watch,
            ..Live::default()
        };
        let sent = Sent {
            connection: 1,
            stream,
        };
        server.live.record(AgentId::from_bigint(1), sent, live);
    };
    say(1, None);
    let older = server.json(AGENT).await;
    assert_eq!(older["takes_list"], false);
    assert_eq!(older["version"], Value::Null);
    let held = Held::new(
        1_795_000_000_000,
        ["192.0.2.1".parse().unwrap()].into_iter().collect(),
    );
    let state = WatchState {
        own_entries: 7,
        left_out: 3,
        ..held.state()
    };
    say(2, Some(state));
    let expected = json!({
        "takes_list": true,
        "up_to_date": null,
        "version": "2026-11-18T11:06:40Z",
        "entries": 1,
        "left_out": 3,
        "own_entries": 7,
        "newest_version": null,
        "newest_entries": null,
        "at": "2026-11-18T11:06:40Z",
    });
    assert_eq!(
        server.json(AGENT).await,
        expected,
        "the server has not looked yet"
    );
}

//! NTP monitoring of interfaces, started and stopped.

use axum::http::StatusCode;
use netmon_common::wire::{Live, LiveInterface, NtpState};
use netmon_server::{agent_id::AgentId, live::Sent};
use serde_json::{Value, json};

use crate::server::{Answer, Server};

const LIST: &str = "/api/ntp/interfaces";

/// `edge` with eth0 and eth1, `core` with eth1; both are connected.
async fn server() -> Server {
    let server = Server::start().await;
    for (id, alias, interfaces) in [(1, "edge", &["eth0", "eth1"][..]), (2, "core", &["eth1"])] {
        server.agent(id, alias).await;
        for name in interfaces {
            server.interface(id, name).await;
        }
        server.live.connect(AgentId::from_bigint(id), 1);
    }
    server
}

fn doing(monitored: bool, ports: &[u32], revision: u64) -> NtpState {
    NtpState {
        monitored,
        ports: ports.to_vec(),
        timeout_ms: 5000,
        revision,
        since_unix_ns: 1_795_161_600_000_000_000,
    }
}

/// An agent says what it does.
fn says(server: &Server, agent: i64, interfaces: &[(&str, Option<NtpState>)]) {
    let interfaces = interfaces.iter().map(|(name, ntp)| LiveInterface {
        name: (*name).to_owned(),
        ntp: ntp.clone(),
        ..LiveInterface::default()
    });
    let live = Live {
        interfaces: interfaces.collect(),
        ..Live::default()
    };
    let sent = Sent {
        connection: 1,
        stream: 0,
    };
    server.live.record(AgentId::from_bigint(agent), sent, live);
}

async fn post(server: &Server, path: &str, body: Value) -> Value {
    let answer = server.post(path, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer.json()
}

fn code(answer: &Answer) -> (u16, String) {
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), code)
}

async fn state(server: &Server, agent: &str, name: &str) -> Value {
    let path = format!("/api/v1/agents/{agent}/ntp/interfaces/{name}");
    server.json(&path).await["state"].clone()
}

#[tokio::test]
async fn a_wish_is_stored_and_the_state_says_whether_the_agent_has_heard_of_it() {
    let server = server().await;
    assert_eq!(state(&server, "edge", "eth0").await, "unknown");
    // Connected, and has not said anything yet.
    post(
        &server,
        "/api/v1/agents/edge/ntp/interfaces/eth1/start",
        json!({}),
    )
    .await;
    assert_eq!(state(&server, "edge", "eth1").await, "starting");
    says(&server, 1, &[("eth0", Some(doing(true, &[123], 1)))]);
    assert_eq!(state(&server, "edge", "eth0").await, "running");
    assert_eq!(state(&server, "edge", "eth1").await, "not_watched");

    let stopped = post(&server, "/api/ntp/interfaces/eth0/stop", json!({})).await;
    assert_eq!(stopped["state"], "stopping");
    assert_eq!(stopped["wish"]["monitored"], false);
    assert_eq!(stopped["reported"]["monitored"], true);
    says(&server, 1, &[("eth0", Some(doing(false, &[], 2)))]);
    assert_eq!(state(&server, "edge", "eth0").await, "stopped");

    let body = json!({"port": 123, "timeout": 2.0});
    let started = post(&server, "/api/ntp/interfaces/eth0/start", body).await;
    assert_eq!(started["state"], "starting");
    assert_eq!(started["wish"]["ports"], json!([123]));
    assert_eq!(started["wish"]["timeout_seconds"], 2.0);
    says(&server, 1, &[("eth0", Some(doing(true, &[123], 3)))]);
    let shown = server.json("/api/ntp/interfaces/eth0").await;
    assert_eq!(shown["state"], "running");
    let expected = json!({
        "monitored": true, "ports": [123], "timeout_seconds": 5.0,
        "since": "2026-11-20T08:00:00Z",
    });
    assert_eq!(shown["reported"], expected);

    server.live.disconnect(AgentId::from_bigint(1), 1);
    assert_eq!(state(&server, "edge", "eth0").await, "offline");
    post(&server, "/api/ntp/interfaces/eth0/stop", json!({})).await;
    assert_eq!(state(&server, "edge", "eth0").await, "offline");
}

#[tokio::test]
async fn an_agent_older_than_wishes_is_unknown_whatever_is_wished() {
    let server = server().await;
    says(&server, 1, &[("eth0", None)]);
    let stopped = post(&server, "/api/ntp/interfaces/eth0/stop", json!({})).await;
    assert_eq!(stopped["state"], "unknown");
    assert_eq!(stopped["reported"], Value::Null);
}

#[tokio::test]
async fn an_interface_that_several_agents_have_needs_the_agent() {
    let server = server().await;
    let stop = "/api/ntp/interfaces/eth1/stop";
    let answer = server.post(stop, &json!({})).await;
    assert_eq!(code(&answer), (409, "ambiguous_interface".to_owned()));
    let detail = answer.json()["detail"].to_string();
    for name in ["0000000000000001 (edge)", "0000000000000002 (core)"] {
        assert!(detail.contains(name), "{detail}");
    }
    let answer = server.get("/api/ntp/interfaces/eth1").await;
    assert_eq!(code(&answer), (409, "ambiguous_interface".to_owned()));

    post(&server, stop, json!({"agent": "edge"})).await;
    post(
        &server,
        "/api/ntp/interfaces/eth1/stop?agent=core",
        json!({}),
    )
    .await;
    let page = server.json(LIST).await;
    let wishes: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (
                item["agent_alias"].clone(),
                item["interface"].clone(),
                item["wish"]["monitored"].clone(),
            )
        })
        .collect();
    let expected = [
        (json!("edge"), json!("eth0"), Value::Null),
        (json!("edge"), json!("eth1"), json!(false)),
        (json!("core"), json!("eth1"), json!(false)),
    ];
    assert_eq!(wishes, expected);
    let answer = server
        .post(&format!("{stop}?agent=core"), &json!({"agent": "edge"}))
        .await;
    assert_eq!(code(&answer), (400, "invalid_parameter".to_owned()));
}

#[tokio::test]
async fn an_interface_that_is_to_come_is_wished_by_force() {
    let server = server().await;
    let path = "/api/v1/agents/edge/ntp/interfaces/ppp0/start";
    for (path, body) in [
        (path, json!({})),
        ("/api/ntp/interfaces/ppp0/start", json!({})),
        ("/api/ntp/interfaces/ppp0/start", json!({"agent": "edge"})),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!(code(&answer), (404, "unknown_interface".to_owned()));
        assert!(answer.text().contains("force"), "{}", answer.text());
    }
    says(&server, 1, &[("eth0", Some(doing(true, &[123], 0)))]);
    let wished = post(&server, path, json!({"force": true, "port": 1123})).await;
    assert_eq!(wished["state"], "not_watched");
    let seven = [("ppp0", Some(doing(true, &[1123], 1)))];
    says(&server, 1, &seven);
    assert_eq!(state(&server, "edge", "ppp0").await, "running");
    // From then on it is known.
    post(&server, "/api/ntp/interfaces/ppp0/stop", json!({})).await;
    // One that the agent has only just reported needs no force.
    says(&server, 1, &[("wlan0", Some(doing(true, &[123], 1)))]);
    let path = "/api/v1/agents/edge/ntp/interfaces/wlan0/stop";
    assert_eq!(post(&server, path, json!({})).await["state"], "stopping");
}

#[tokio::test]
async fn several_are_started_and_stopped_at_once() {
    let server = server().await;
    let stop = "/api/v1/agents/edge/ntp/interfaces/stop";
    let changed = post(&server, stop, json!({"interfaces": ["eth1", "eth0"]})).await;
    assert_eq!(changed["items"].as_array().unwrap().len(), 2);
    let revisions = server.revisions().await;
    assert_eq!(revisions, [(1, 1)], "one change");
    // All of one agent, and all there are.
    let changed = post(
        &server,
        "/api/ntp/interfaces/start?agent=core",
        json!({"all": true}),
    )
    .await;
    assert_eq!(changed["items"].as_array().unwrap().len(), 1);
    let body = json!({"all": true, "ports": [123, 1123]});
    let changed = post(&server, "/api/ntp/interfaces/start", body).await;
    let items = changed["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert!(
        items
            .iter()
            .all(|item| item["wish"]["ports"] == json!([123, 1123]))
    );
    // One that is not there, and nothing is changed.
    let body = json!({"interfaces": ["eth0", "eth9"]});
    let answer = server.post(stop, &body).await;
    assert_eq!(code(&answer), (404, "unknown_interface".to_owned()));
    for body in [json!({}), json!({"interfaces": ["eth1"]})] {
        let answer = server.post("/api/ntp/interfaces/stop", &body).await;
        assert!(answer.status.is_client_error(), "{body}");
    }
    assert_eq!(server.revisions().await, [(1, 2), (2, 2)]);
}

#[tokio::test]
async fn what_the_kernel_cannot_look_for_is_refused() {
    let server = server().await;
    says(
        &server,
        1,
        &[("eth0", Some(doing(true, &[123], 0))), ("eth1", None)],
    );
    let start = "/api/v1/agents/edge/ntp/interfaces/eth1/start";
    let eight: Vec<u16> = (1001..=1008).collect();
    let answer = server.post(start, &json!({"ports": eight})).await;
    assert_eq!(code(&answer), (409, "too_many_ports".to_owned()));
    assert!(answer.text().contains("on 9 ports"), "{}", answer.text());
    assert!(server.revisions().await.is_empty(), "nothing is wished");
    post(&server, start, json!({"ports": eight[1..]})).await;
    // Once the other needs none, there is room.
    post(&server, "/api/ntp/interfaces/eth0/stop", json!({})).await;
    post(&server, start, json!({"ports": eight})).await;
}

#[tokio::test]
async fn wishes_are_as_many_as_an_agent_can_be_told() {
    let server = server().await;
    let names = |prefix: &str, count: usize| -> Vec<String> {
        (0..count).map(|n| format!("{prefix}{n}")).collect()
    };
    let stop = "/api/v1/agents/edge/ntp/interfaces/stop";
    let body = json!({"interfaces": names("veth", 500), "force": true});
    post(&server, stop, body).await;
    let body = json!({"interfaces": names("tap", 13), "force": true});
    let answer = server.post(stop, &body).await;
    assert_eq!(code(&answer), (409, "too_many_wishes".to_owned()));
    let body = json!({"interfaces": names("tap", 513), "force": true});
    assert_eq!(
        server.post(stop, &body).await.status,
        StatusCode::BAD_REQUEST
    );
    // Those that wish for nothing but the configuration make room.
    let start = "/api/v1/agents/edge/ntp/interfaces/start";
    post(&server, start, json!({"interfaces": names("veth", 10)})).await;
    let body = json!({"interfaces": names("tap", 13), "force": true});
    post(&server, stop, body).await;
}

#[tokio::test]
async fn a_body_that_is_wrong_is_named_in_one_sentence() {
    let server = server().await;
    let start = "/api/ntp/interfaces/eth0/start";
    for (body, expected) in [
        (
            json!({"port": 0}),
            "port: it must be a whole number from 1 to 65535",
        ),
        (json!({"port": "ntp"}), "port: it must be"),
        (
            json!({"timeout": 0.01}),
            "timeout: it must be 0.1 to 60 seconds",
        ),
        (
            json!({"timeout": "2s"}),
            "timeout: it must be 0.1 to 60 seconds",
        ),
        (json!({"tiemout": 2}), "unknown field `tiemout`"),
        (json!({"force": "yes"}), "expected a boolean"),
        (json!(7), "the body is not what it should be"),
    ] {
        let answer = server.post(start, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains(expected) && !detail.contains('\n'),
            "{body}: {detail}"
        );
    }
    let name = "/api/v1/agents/edge/ntp/interfaces/a%2Fb/start";
    let answer = server.post(name, &json!({"force": true})).await;
    assert_eq!(answer.json()["parameter"], "interface");
    let path = "/api/v1/agents/edge/ntp/interfaces/eth0/start";
    let answer = server.post(path, &json!({"agent": "core"})).await;
    assert_eq!(answer.json()["parameter"], "agent");
    assert!(server.revisions().await.is_empty());
}

#[tokio::test]
async fn the_same_wish_once_more_keeps_its_time() {
    let server = server().await;
    let stop = "/api/ntp/interfaces/eth0/stop";
    let first = post(&server, stop, json!({})).await;
    let second = post(&server, stop, json!({})).await;
    assert_eq!(first["wish"], second["wish"]);
    let started = post(&server, "/api/ntp/interfaces/eth0/start", json!({})).await;
    assert_ne!(started["wish"]["changed_at"], first["wish"]["changed_at"]);
}

#[tokio::test]
async fn pages_of_the_list_hold_every_interface_once() {
    let server = server().await;
    let pages = server
        .pages("/api/ntp/interfaces?limit=1", async |_| {})
        .await;
    let names: Vec<_> = pages
        .concat()
        .iter()
        .map(|i| i["interface"].clone())
        .collect();
    assert_eq!(names, ["eth0", "eth1", "eth1"]);
    let page = server.json("/api/v1/agents/core/ntp/interfaces").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let answer = server.get("/api/v1/agents/core/ntp/interfaces/eth0").await;
    assert_eq!(code(&answer), (404, "unknown_interface".to_owned()));
}

impl Server {
    /// Agents of which something was wished, and how often.
    async fn revisions(&self) -> Vec<(i64, i64)> {
        sqlx::query_as("SELECT agent_id, revision FROM ntp_wish_revisions ORDER BY agent_id")
            .fetch_all(&self.database)
            .await
            .unwrap()
    }
}

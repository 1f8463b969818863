//! Requests that cannot be answered get problem details (RFC 9457) with a stable code.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::server::{Answer, Server};

const BANDWIDTH: &str = "/api/v1/agents/edge/bandwidth";
const EXCHANGES: &str = "/api/v1/ntp/exchanges";
const CLIENTS: &str = "/api/v1/ntp/clients";
const AGENTS: &str = "/api/v1/agents";

async fn server() -> Server {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    server.interface(1, "eth0").await;
    server
}

/// The code, once everything that every problem has is checked.
fn code(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let body = answer.json();
    assert_eq!(body["type"], "about:blank");
    assert_eq!(body["status"], status);
    assert_eq!(body["title"], answer.status.canonical_reason().unwrap());
    let detail = body["detail"].as_str().unwrap();
    assert!(!detail.is_empty());
    for inside in ["sqlx", "axum", "serde", "SELECT", "pg_", "src/"] {
        assert!(!detail.contains(inside), "{detail}");
    }
    body["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_problem_says_what_to_do() {
    let server = server().await;
    let answer = server.get("/api/v1/ntp/clients?limit=0").await;
    let expected = json!({
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "code": "invalid_parameter",
        "detail": "limit: it must be 1 to 1000",
        "parameter": "limit",
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = server().await;
    for (uri, expected) in [
        ("/", "unknown_path"),
        ("/api/v1", "unknown_path"),
        ("/api/v1/", "unknown_path"),
        ("/api/v2/agents", "unknown_path"),
        ("/api/v1/agents/", "unknown_path"),
        ("/api/v1/agents/edge/nothing", "unknown_path"),
        ("/api/v1/agents/nobody", "unknown_agent"),
        ("/api/v1/agents/00000000000000ff", "unknown_agent"),
        ("/api/v1/agents/ffffffffffffffff", "unknown_agent"),
        ("/api/v1/agents/nobody/live", "unknown_agent"),
        ("/api/v1/agents/nobody/interfaces", "unknown_agent"),
        ("/api/v1/agents/nobody/bandwidth", "unknown_agent"),
        (
            "/api/v1/agents/nobody/interfaces/eth0/bandwidth",
            "unknown_agent",
        ),
        (
            "/api/v1/agents/edge/interfaces/eth9/bandwidth",
            "unknown_interface",
        ),
        ("/api/v1/ntp/clients?agent=nobody", "unknown_agent"),
        ("/api/v1/ntp/exchanges?agent=nobody", "unknown_agent"),
        ("/api/v1/agents/edge/live", "no_live_data"),
    ] {
        assert_eq!(code(&server.get(uri).await, 404), expected, "{uri}");
    }
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let server = server().await;
    for uri in [AGENTS, "/livez", "/metrics", "/api/docs/", BANDWIDTH] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = server.request(method.clone(), uri).await;
            assert_eq!(code(&answer, 405), "method_not_allowed", "{method} {uri}");
            assert_eq!(answer.header("allow"), "GET,HEAD", "{method} {uri}");
        }
    }
    let head = server.request(Method::HEAD, AGENTS).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn a_parameter_that_cannot_be_used_is_named() {
    let server = server().await;
    for (uri, query, parameter) in [
        (BANDWIDTH, "from=yesterday", "from"),
        (BANDWIDTH, "from=", "from"),
        (BANDWIDTH, "from=1700000000", "from"),
        (BANDWIDTH, "from=2026-11-20T10:00:00", "from"),
        (BANDWIDTH, "from=2026-13-20T10:00:00Z", "from"),
        (BANDWIDTH, "from=9999-12-31T23:59:59Z", "from"),
        (BANDWIDTH, "to=1969-12-31T23:59:59Z", "to"),
        (BANDWIDTH, "to=2026-11-20T10:00:00+01:00", "to"),
        (
            BANDWIDTH,
            "from=2026-11-20T10:00:00Z&to=2026-11-20T10:00:00Z",
            "from",
        ),
        (
            BANDWIDTH,
            "from=2026-11-20T11:00:00Z&to=2026-11-20T10:00:00Z",
            "from",
        ),
        (BANDWIDTH, "step=0s", "step"),
        (BANDWIDTH, "step=100ms", "step"),
        (BANDWIDTH, "step=1", "step"),
        (BANDWIDTH, "step=-10s", "step"),
        (BANDWIDTH, "step=99999999999999999999s", "step"),
        (AGENTS, "limit=0", "limit"),
        (AGENTS, "limit=1001", "limit"),
        (AGENTS, "limit=-1", "limit"),
        (AGENTS, "limit=ten", "limit"),
        (CLIENTS, "client=nonsense", "client"),
        (CLIENTS, "client=192.0.2.0/33", "client"),
        (CLIENTS, "server=300.1.1.1", "server"),
        (CLIENTS, "to=now", "to"),
        (EXCHANGES, "client=", "client"),
        (EXCHANGES, "match=perfect", "match"),
        (EXCHANGES, "match=BASIC", "match"),
        (EXCHANGES, "from=now", "from"),
    ] {
        let answer = server.get(&format!("{uri}?{query}")).await;
        assert_eq!(code(&answer, 400), "invalid_parameter", "{query}");
        assert_eq!(answer.json()["parameter"], parameter, "{query}");
    }
}

#[tokio::test]
async fn too_many_points_are_refused() {
    let server = server().await;
    let day = "from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z";
    let answer = server.get(&format!("{BANDWIDTH}?{day}&step=1s")).await;
    assert_eq!(code(&answer, 400), "too_many_points");
    assert_eq!(
        server
            .get(&format!("{BANDWIDTH}?{day}&step=10s"))
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_query_string_must_hold_known_parameters_in_utf8() {
    let server = server().await;
    for (uri, query) in [
        (BANDWIDTH, "form=2026-11-20T10:00:00Z"),
        (BANDWIDTH, "limit=10"),
        (AGENTS, "page=2"),
        (CLIENTS, "match=basic"),
        (EXCHANGES, "limit=1&limit=2"),
        (CLIENTS, "interface=%FF"),
        (CLIENTS, "interface=eth0%00"),
        (EXCHANGES, "agent=%C3%28"),
    ] {
        let answer = server.get(&format!("{uri}?{query}")).await;
        assert_eq!(code(&answer, 400), "invalid_query", "{query}");
    }
}

#[tokio::test]
async fn a_path_must_be_utf8_without_nul() {
    let server = server().await;
    for uri in [
        "/api/v1/agents/%FF",
        "/api/v1/agents/%C3%28/live",
        "/api/v1/agents/edge%00",
        "/api/v1/agents/edge/interfaces/%80/bandwidth",
        "/api/docs/%FF",
    ] {
        assert_eq!(code(&server.get(uri).await, 400), "invalid_path", "{uri}");
    }
}

#[tokio::test]
async fn a_cursor_fits_only_where_it_came_from() {
    let server = server().await;
    for id in 2..6 {
        server.agent(id, &format!("host{id}")).await;
        server.interface(1, &format!("eth{id}")).await;
    }
    let cursor_of = async |uri: &str| {
        server.json(uri).await["next_cursor"]
            .as_str()
            .expect("a further page")
            .to_owned()
    };
    let agents = cursor_of("/api/v1/agents?limit=1").await;
    let interfaces = cursor_of("/api/v1/agents/edge/interfaces?limit=1").await;
    assert_eq!(
        server
            .get(&format!("{AGENTS}?cursor={agents}"))
            .await
            .status,
        StatusCode::OK
    );
    let mut changed = agents.clone();
    changed.replace_range(0..1, if agents.starts_with('x') { "y" } else { "x" });
    for (uri, cursor) in [
        (AGENTS, ""),
        (AGENTS, "0"),
        (AGENTS, "not a cursor"),
        (AGENTS, "%F0%9F%92%A9"),
        (AGENTS, &agents[1..]),
        (AGENTS, changed.as_str()),
        (AGENTS, interfaces.as_str()),
        (CLIENTS, agents.as_str()),
        (EXCHANGES, agents.as_str()),
        ("/api/v1/agents/host2/interfaces", interfaces.as_str()),
    ] {
        let answer = server
            .get(&format!("{uri}?cursor={}", cursor.replace(' ', "%20")))
            .await;
        assert_eq!(code(&answer, 400), "invalid_cursor", "{uri} {cursor}");
    }
}

#[tokio::test]
async fn a_failure_inside_tells_nothing_of_it() {
    let server = server().await;
    server.sql("ALTER TABLE ntp_clients RENAME TO hidden").await;
    let answer = server.get(CLIENTS).await;
    assert_eq!(code(&answer, 500), "internal");
    assert!(!answer.text().contains("ntp_clients"));
}

#[tokio::test]
async fn the_api_can_only_read() {
    let server = server().await;
    // The API's sessions come up read-only whatever it would be made to run.
    server
        .sql(
            "CREATE FUNCTION intrude() RETURNS text LANGUAGE sql AS \
                $$ UPDATE agents SET alias = 'changed' RETURNING alias $$; \
                ALTER TABLE agents RENAME TO real_agents; \
                CREATE VIEW agents AS SELECT agent_id, intrude() AS alias, hostname, \
                agent_version, kernel_release, epoch, first_seen, last_seen FROM real_agents",
        )
        .await;
    assert_eq!(code(&server.get(AGENTS).await, 500), "internal");
    server
        .sql("DROP VIEW agents; ALTER TABLE real_agents RENAME TO agents")
        .await;
    assert_eq!(server.json(AGENTS).await["items"][0]["alias"], "edge");
}

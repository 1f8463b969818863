//! Clients by filters, sorts and pages: `/api/v1/ntp/search` and `/api/ntp/history/…`.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};

use crate::server::Server;

const SEARCH: &str = "/api/v1/ntp/search";

/// Ten clients: 192.0.2.1 … 192.0.2.10 of two agents and servers, each with figures after its number.
pub async fn server() -> Server {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    server.agent(2, "core").await;
    server
        .sql(
            "INSERT INTO ntp_clients (agent_id, interface, client, server, client_port, server_port,
                 version, leap, stratum, vantage, response_time_ns, offset_ns, first_seen, last_seen,
                 session_count, answered_count)
             SELECT 1 + n % 2, 'eth' || n % 3, ('192.0.2.' || n)::inet, ('198.51.100.' || n % 2)::inet,
                 40000 + n, 123, 3 + n % 2, n % 4, n % 5, CASE WHEN n < 6 THEN 'client' END,
                 1000 * (n % 7), CASE WHEN n % 2 = 0 THEN -1000000 * n ELSE 100000 * n END,
                 timestamptz '2026-11-20 08:00Z', timestamptz '2026-11-20 09:00Z' + n * interval '1 minute',
                 100 - n, 1
             FROM generate_series(1, 10) n;
             INSERT INTO ntp_servers (agent_id, interface, server, server_port, stratum, reference_id,
                 first_seen, last_seen, request_count, answered_count, kiss_count)
             SELECT 1 + n % 2, 'eth0', ('198.51.100.' || n % 2)::inet, 123, n, 2139029761,
                 timestamptz '2026-11-20 08:00Z', timestamptz '2026-11-20 09:00Z', 5, 4, n
             FROM generate_series(0, 1) n",
        )
        .await;
    server
}

/// The last numbers of the clients found.
fn found(page: &Value) -> Vec<i64> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let client = item["client"].as_str().unwrap();
            client.rsplit('.').next().unwrap().parse().unwrap()
        })
        .collect()
}

async fn search(server: &Server, body: Value) -> Value {
    let answer = server.post(SEARCH, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{body}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn filters_narrow_the_search_together() {
    let server = server().await;
    for (filter, mut expected) in [
        (json!({}), (1..=10).collect::<Vec<_>>()),
        (json!({"agent": "core"}), vec![1, 3, 5, 7, 9]),
        (
            json!({"agents": ["core", "edge"], "interface": "eth0"}),
            vec![3, 6, 9],
        ),
        (
            json!({"interface_names": ["eth1", "eth2"]}),
            vec![1, 2, 4, 5, 7, 8, 10],
        ),
        (
            json!({"client_ips": ["192.0.2.3", "192.0.2.8/31"]}),
            vec![3, 8, 9],
        ),
        (json!({"search_ip": "192.0."}), (1..=10).collect()),
        (json!({"server": "198.51.100.1"}), vec![1, 3, 5, 7, 9]),
        (json!({"stratum": [1, 2]}), vec![1, 2, 6, 7]),
        (json!({"version": 3, "leap": 0}), vec![4, 8]),
        (json!({"vantage": "client"}), vec![1, 2, 3, 4, 5]),
        (
            json!({"from": "2026-11-20T09:08:00Z", "to": "2026-11-20T09:10:00Z"}),
            vec![8, 9],
        ),
        (json!({"offset_over_ns": 0}), (1..=10).collect()),
        (json!({"offset_over_ns": 899_999}), vec![2, 4, 6, 8, 9, 10]),
        (json!({"offset_over_ns": 4_000_000}), vec![6, 8, 10]),
        (json!({"offset_over_ns": 10_000_000}), vec![]),
    ] {
        let page = search(&server, json!({"filter": filter})).await;
        let mut got = found(&page);
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected, "{filter}");
        assert_eq!(page["total"], expected.len(), "{filter}");
        assert_eq!(page["total_is_exact"], true);
    }
}

#[tokio::test]
async fn what_is_found_can_be_sorted() {
    let server = server().await;
    for (sort, order, first) in [
        ("last_seen", "desc", 10),
        ("last_seen", "asc", 1),
        ("session_count", "asc", 10),
        ("offset", "desc", 10),
        ("offset_ns", "asc", 1),
        ("response_time_ns", "asc", 7),
        ("stratum", "asc", 10),
    ] {
        let body = json!({"sort": sort, "order": order, "page_size": 3});
        let page = search(&server, body).await;
        assert_eq!(found(&page)[0], first, "{sort} {order}");
        assert_eq!(page["next_cursor"], Value::Null);
    }
}

#[tokio::test]
async fn numbered_pages_and_cursors_hold_every_client_once() {
    let server = server().await;
    let whole = found(&search(&server, json!({})).await);
    for order in ["asc", "desc"] {
        let mut expected = whole.clone();
        if order == "desc" {
            expected.reverse();
        }
        let (mut numbered, mut by_cursor) = (Vec::new(), Vec::new());
        let mut cursor = Value::Null;
        for page in 1..=4 {
            let body = json!({"page": page, "page_size": 3, "order": order});
            numbered.extend(found(&search(&server, body).await));
            let body = json!({"cursor": cursor, "page_size": 3, "order": order});
            let next = search(&server, body).await;
            by_cursor.extend(found(&next));
            cursor = next["next_cursor"].clone();
        }
        assert_eq!(numbered, expected, "{order}");
        assert_eq!(by_cursor, expected, "{order}");
        assert_eq!(cursor, Value::Null);
    }
}

#[tokio::test]
async fn a_search_that_cannot_be_made_says_why() {
    let server = server().await;
    for (body, code) in [
        (json!({"filter": {"client": "nobody"}}), "invalid_parameter"),
        (json!({"filter": {"match": "basic"}}), "invalid_parameter"),
        (json!({"filter": {"colour": "red"}}), "invalid_body"),
        (
            json!({"filter": {"interface": "a\0b"}}),
            "invalid_parameter",
        ),
        (json!({"filter": {"agent": "nobody"}}), "unknown_agent"),
        (json!({"sort": "colour"}), "invalid_body"),
        (json!({"page": 0}), "invalid_parameter"),
        (json!({"page": i64::MAX}), "invalid_parameter"),
        (json!({"page_size": 1001}), "invalid_parameter"),
        (json!({"cursor": "AAAA"}), "invalid_cursor"),
        (json!({"cursor": "AAAA", "page": 2}), "invalid_parameter"),
        (json!([1]), "invalid_body"),
    ] {
        let answer = server.post(SEARCH, &body).await;
        assert!(answer.status.is_client_error(), "{body}");
        assert_eq!(answer.json()["code"], code, "{body}");
    }
}

#[tokio::test]
async fn a_body_that_a_browser_would_send_for_any_page_is_refused() {
    let server = server().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let request = Request::post(SEARCH).header("content-type", kind);
        let answer = server.answer(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
        assert_eq!(answer.json()["code"], "not_json");
    }
    let long = json!({"filter": {"client": "1".repeat(300_000)}});
    assert_eq!(
        server.post(SEARCH, &long).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn earlier_programs_find_clients_at_their_paths() {
    let server = server().await;
    let page = server
        .json("/api/ntp/history/clients?page=2&page_size=4")
        .await;
    assert_eq!((&page["page"], &page["total"]), (&json!(2), &json!(10)));
    assert_eq!(page["items"].as_array().unwrap().len(), 4);
    let uri = "/api/ntp/history/clients?search_ip=192.0.2.3&interface_name=eth0";
    assert_eq!(found(&server.json(uri).await), [3]);
    let answer = server
        .post(
            "/api/ntp/history/search",
            &json!({"filters": {"stratum": 4}}),
        )
        .await;
    assert_eq!(found(&answer.json()), [4, 9]);

    let client = server.json("/api/ntp/history/clients/192.0.2.3").await;
    assert_eq!(client["session_count"], 97);
    assert_eq!(client["items"].as_array().unwrap().len(), 1);
    let unknown = server.get("/api/ntp/history/clients/192.0.2.99").await;
    assert_eq!(
        (unknown.status, unknown.json()["code"].clone()),
        (StatusCode::NOT_FOUND, json!("unknown_client"))
    );
    let nothing = server.get("/api/ntp/history/clients/here").await;
    assert_eq!(nothing.status, StatusCode::BAD_REQUEST);
}

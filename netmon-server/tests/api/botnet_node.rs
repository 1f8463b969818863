//! One node, and one address across families.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::botnets::server;

const NODE: &str = "/api/v1/botnets/mozi/nodes/1.0.0.5";

#[tokio::test]
async fn a_node_shows_who_saw_it_and_at_which_ports() {
    let server = server().await;
    let node = server.json(NODE).await;
    assert_eq!(node["family"], "mozi");
    assert_eq!(node["address"], "1.0.0.5");
    assert_eq!(node["country_name"], "Netherlands");
    assert_eq!(node["located_by"], "the embedded files");
    assert_eq!(
        (&node["communications"], &node["kept_communications"]),
        (&json!(5), &json!(5))
    );
    let sources = json!([
        {
            "kind": "log", "name": "sinkhole", "agent": null, "communications": 4,
            "first_seen": "2026-11-18T05:00:00Z", "last_seen": "2026-11-18T05:00:00Z",
        },
        {
            "kind": "agent", "name": "edge", "agent": "0000000000000001", "communications": 1,
            "first_seen": "2026-11-20T12:05:00Z", "last_seen": "2026-11-20T12:05:00Z",
        },
    ]);
    assert_eq!(node["sources"], sources);
    assert_eq!(
        node["ports"],
        json!([{"port": 23, "hours": 2}, {"port": 2323, "hours": 1}])
    );
    assert_eq!(node["local_ports"], json!([{"port": 443, "hours": 1}]));
    assert_eq!(node["inbound_bytes"], 1000);
    assert_eq!(node["outbound_packets"], 20);
}

#[tokio::test]
async fn communications_come_newest_first_and_page_by_page() {
    let server = server().await;
    let range = "from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z";
    let list = format!("{NODE}/communications?{range}");
    let page = server.json(&list).await;
    let hours: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["hour"])
        .collect();
    assert_eq!(hours, ["2026-11-20T12:00:00Z", "2026-11-18T05:00:00Z"]);
    assert_eq!(page["items"][0]["source"], "edge");
    assert_eq!(page["items"][0]["inbound_packets"], 10);
    assert_eq!(page["items"][1]["source_kind"], "log");
    assert_eq!(page["items"][1]["local_ports"], Value::Null);
    let pages = server.pages(&format!("{list}&limit=1"), async |_| ()).await;
    assert_eq!(pages.concat(), *page["items"].as_array().unwrap());
    let none = server
        .json(&format!("{NODE}/communications?to=2026-11-18T05:00:00Z"))
        .await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn the_timeline_has_hours_or_days() {
    let server = server().await;
    let range = "from=2026-11-18T00:00:00Z&to=2026-11-21T00:00:00Z";
    let days = server.json(&format!("{NODE}/timeline?{range}")).await;
    let points = |answer: &Value| {
        let items = answer["items"].as_array().unwrap().clone();
        let point = |item: &Value| (item["at"].clone(), item["communications"].clone());
        items.iter().map(point).collect::<Vec<_>>()
    };
    let expected = [
        (json!("2026-11-18T00:00:00Z"), json!(4)),
        (json!("2026-11-20T00:00:00Z"), json!(1)),
    ];
    assert_eq!(points(&days), expected);
    let hours = server
        .json(&format!("{NODE}/timeline?{range}&step=hour"))
        .await;
    assert_eq!(points(&hours)[0].0, "2026-11-18T05:00:00Z");
    assert_eq!(hours["items"][1]["sources"], 1);
    assert_eq!(hours["items"][0]["inbound_bytes"], Value::Null);
    let long = format!("{NODE}/timeline?from=2020-01-01T00:00:00Z&step=hour");
    assert_eq!(server.get(&long).await.json()["code"], "too_many_points");
}

#[tokio::test]
async fn an_address_is_looked_up_across_families() {
    let server = server().await;
    let known = server.json("/api/v1/addresses/1.0.0.5?lang=zh").await;
    let items = known["items"].as_array().unwrap();
    let families: Vec<_> = items.iter().map(|item| &item["family"]).collect();
    assert_eq!(families, ["moobot", "mozi"]);
    assert_eq!(items[1]["communications"], 5);
    assert_eq!(items[1]["country_name"], "荷兰");
    for (address, count) in [
        ("1.0.0.200", 1),
        ("::ffff:1.0.0.5", 2),
        ("2400::3", 1),
        ("9.9.9.9", 0),
    ] {
        let answer = server.json(&format!("/api/v1/addresses/{address}")).await;
        assert_eq!(
            answer["items"].as_array().unwrap().len(),
            count,
            "{address}"
        );
    }
}

#[tokio::test]
async fn a_node_is_removed_with_what_follows_from_it() {
    let server = server().await;
    let removed = server.request(Method::DELETE, NODE).await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.text());
    assert_eq!(
        removed.json(),
        json!({"family": "mozi", "address": "1.0.0.5", "communications": 2})
    );
    for method in [Method::GET, Method::DELETE] {
        let answer = server.request(method, NODE).await;
        assert_eq!(answer.json()["code"], "unknown_node");
    }
    let statistics = server.json("/api/v1/botnets/mozi/statistics").await;
    assert_eq!(statistics["nodes"], 59);
    // The other family keeps it.
    let left = server.json("/api/v1/addresses/1.0.0.5").await;
    assert_eq!(left["items"][0]["family"], "moobot");
}

#[tokio::test]
async fn what_is_no_address_or_not_known_is_said() {
    let server = server().await;
    for (uri, status, code) in [
        ("/api/v1/addresses/nonsense", 400, "invalid_path"),
        ("/api/v1/addresses/1.0.0.0%2F24", 400, "invalid_path"),
        ("/api/v1/botnets/mozi/nodes/1.0.0.256", 400, "invalid_path"),
        ("/api/v1/botnets/mozi/nodes/9.9.9.9", 404, "unknown_node"),
        (
            "/api/v1/botnets/mozi/nodes/9.9.9.9/timeline",
            404,
            "unknown_node",
        ),
        (
            "/api/v1/botnets/mozi/nodes/9.9.9.9/communications",
            404,
            "unknown_node",
        ),
        (
            "/api/v1/botnets/nobody/nodes/1.0.0.5",
            404,
            "unknown_family",
        ),
        (
            "/api/v1/botnets/mozi/nodes/1.0.0.5/timeline?step=minute",
            400,
            "invalid_parameter",
        ),
    ] {
        let answer = server.get(uri).await;
        assert_eq!(answer.status.as_u16(), status, "{uri}");
        assert_eq!(answer.json()["code"], code, "{uri}");
    }
}

//! `/api/v1/agents/{agent}/interfaces`.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn interfaces_are_listed_by_name() {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    server.agent(2, "other").await;
    server.interface(2, "eth7").await;
    server.interface(1, "eth0").await;
    server
        .sql(
            "INSERT INTO interfaces (agent_id, name, ifindex, mac, mtu, link_speed_bps, monitored, \
             first_seen, last_seen) VALUES (1, 'dummy0', 9, NULL, 0, NULL, false, \
             '2026-11-20 08:00:00Z', '2026-11-20 08:00:00.5Z')",
        )
        .await;
    let expected = json!({
        "items": [
            {
                "name": "dummy0",
                "ifindex": 9,
                "mac": null,
                "mtu": null,
                "link_speed_bps": null,
                "monitored": false,
                "first_seen": "2026-11-20T08:00:00Z",
                "last_seen": "2026-11-20T08:00:00.5Z",
            },
            {
                "name": "eth0",
                "ifindex": 2,
                "mac": "02:00:00:00:00:0a",
                "mtu": 1500,
                "link_speed_bps": 1_000_000_000,
                "monitored": true,
                "first_seen": "2026-11-20T08:00:00Z",
                "last_seen": "2026-11-20T09:30:00Z",
            },
        ],
        "next_cursor": null,
    });
    for agent in ["edge", "0000000000000001"] {
        let uri = format!("/api/v1/agents/{agent}/interfaces");
        assert_eq!(server.json(&uri).await, expected, "{agent}");
    }
}

#[tokio::test]
async fn pages_hold_each_interface_once_while_others_are_added() {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    for name in ["b", "d", "f", "h"] {
        server.interface(1, name).await;
    }
    let add = async |page: usize| {
        for name in [["a", "e"], ["c", "i"]].get(page - 1).into_iter().flatten() {
            server.interface(1, name).await;
        }
    };
    let pages = server
        .pages("/api/v1/agents/edge/interfaces?limit=2", add)
        .await;
    let names: Vec<_> = pages
        .concat()
        .iter()
        .map(|i| i["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["b", "d", "e", "f", "h", "i"]);
}

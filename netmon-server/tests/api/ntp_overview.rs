//! Servers, interfaces, the service and its health.

use netmon_server::metrics::Lane;
use serde_json::{Value, json};

use crate::ntp_search::server;

#[tokio::test]
async fn servers_are_listed_with_how_many_clients_they_have() {
    let server = server().await;
    let page = server.json("/api/v1/ntp/servers?agent=core").await;
    let item = &page["items"][0];
    assert_eq!(item["server"], "198.51.100.1");
    assert_eq!(item["reference_id"], "7f7f0101");
    assert_eq!(item["stratum"], 1);
    // Clients 3 and 9 of its agent are on the interface.
    assert_eq!(item["clients"], 2);
    let pages = server
        .pages("/api/v1/ntp/servers?limit=1", async |_| {})
        .await;
    assert_eq!(pages.len(), 2);
    let none = server.json("/api/v1/ntp/servers?stratum=7").await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn interfaces_show_what_was_seen_on_them() {
    let server = server().await;
    for path in [
        "/api/v1/ntp/interfaces",
        "/api/ntp/history/interfaces/statistics",
    ] {
        let all = server.json(path).await;
        let item = &all["items"][1];
        assert_eq!(item["agent_alias"], "core", "{path}");
        assert_eq!(item["interface"], "eth0");
        assert_eq!((&item["clients"], &item["servers"]), (&json!(2), &json!(1)));
        assert_eq!(
            (&item["session_count"], &item["kiss_count"]),
            (&json!(5), &json!(1))
        );
    }
}

#[tokio::test]
async fn the_service_says_what_it_did() {
    let server = server().await;
    server.metrics.ntp.received(7);
    server.metrics.writers.arrived(Lane::Exchanges, 100);
    for path in ["/api/v1/ntp/service", "/api/ntp/history/service/statistics"] {
        let expected = json!({
            "total_received": 7, "total_processed": 0, "queue_size": 1, "processing_errors": 0,
            "total_inserted": 0, "total_updated": 0,
        });
        assert_eq!(server.json(path).await, expected, "{path}");
    }
    for path in ["/api/v1/ntp/health", "/api/ntp/history/health"] {
        let health = server.json(path).await;
        assert_eq!(health["status"], "healthy", "{path}");
        assert_eq!(health["last_seen"], "2026-11-20T09:00:00Z");
    }
    server.sql("DELETE FROM ntp_servers").await;
    let health = server.json("/api/v1/ntp/health").await;
    assert_eq!(health["last_seen"], Value::Null);
}

//! Logs in JSON, as earlier senders post them.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::json;
use time::{Duration, OffsetDateTime, macros::format_description};

use crate::server::Server;

const UPLOAD: &str = "/api/upload-logs";

/// A time some hours ago, as those senders write it.
fn ago(hours: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let time = OffsetDateTime::now_utc() - Duration::hours(hours);
    time.format(&format).unwrap()
}

#[tokio::test]
async fn lines_with_events_are_sightings() {
    let server = Server::start().await;
    let body = json!({
        "botnet_type": "mozi",
        "logs": [
            format!("{},114.114.114.114,infection,bot_v1.0", ago(3)),
            format!("{},114.114.114.114,beacon\n", ago(2)),
            format!("{},192.168.91.7,access,/content/faq.php?ql=b2", ago(2)),
        ],
        "source_ip": "198.51.100.7",
    });
    let answer = server.post(UPLOAD, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["received_count"], 3);
    assert_eq!(answer["report"]["accepted"], 2);
    assert_eq!(answer["report"]["rejected"], 1, "a private address");
    let node = server
        .json("/api/v1/botnets/mozi/nodes/114.114.114.114")
        .await;
    assert_eq!(
        (&node["communications"], &node["city"]),
        (&json!(2), &json!("320100"))
    );
    assert_eq!(node["sources"][0]["name"], "198.51.100.7");
    assert_eq!(node["ports"], json!([]));
}

#[tokio::test]
async fn a_zone_and_a_key_may_be_said() {
    let server = Server::start().await;
    let body = json!({"botnet_type": "MOZI", "logs": [format!("{},1.2.4.8,beacon", ago(0))]});
    let post = async || {
        let request = Request::post(format!("{UPLOAD}?zone=%2B08:00&source=beijing"))
            .header("content-type", "application/json")
            .header("idempotency-key", "day-1")
            .body(Body::from(body.to_string()))
            .unwrap();
        server.answer(request).await.json()
    };
    assert_eq!(post().await["report"]["accepted"], 1);
    assert_eq!(post().await["report"]["already_stored"], 1);
    let node = server.json("/api/v1/botnets/mozi/nodes/1.2.4.8").await;
    assert_eq!(node["communications"], 1);
    let seen: OffsetDateTime = OffsetDateTime::parse(
        node["last_seen"].as_str().unwrap(),
        &time::format_description::well_known::Rfc3339,
    )
    .unwrap();
    let hours = (OffsetDateTime::now_utc() - seen).whole_minutes() as f64 / 60.0;
    assert!((7.9..8.1).contains(&hours), "{hours}");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let server = Server::start().await;
    for (body, code) in [
        (json!({"logs": []}), "invalid_body"),
        (
            json!({"botnet_type": "nobody", "logs": ["1.2.4.8"]}),
            "unknown_family",
        ),
        (
            json!({"botnet_type": "mozi", "logs": "1.2.4.8"}),
            "invalid_body",
        ),
    ] {
        let answer = server.post(UPLOAD, &body).await;
        assert_eq!(answer.json()["code"], code, "{body}");
    }
}

//! The API answers the same whichever table it reads.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::site::Site;

const NIGHT: OffsetDateTime = datetime!(2026-11-19 22:00 UTC);
const END: OffsetDateTime = datetime!(2026-11-20 2:20 UTC);

/// Points of an interface and of its agent for several steps.
async fn answers(site: &Site, from: &str, to: &str, steps: &[&str]) -> Vec<Value> {
    let mut answers = Vec::new();
    for path in ["edge/interfaces/eth0/bandwidth", "edge/bandwidth"] {
        for step in steps {
            let uri = format!("/api/v1/agents/{path}?from={from}&to={to}&step={step}");
            answers.push(site.server.json(&uri).await);
        }
    }
    answers
}

fn items(answers: &[Value]) -> Vec<&Value> {
    answers.iter().map(|answer| &answer["items"]).collect()
}

#[tokio::test]
async fn answers_stay_the_same_when_raw_rows_become_sums_and_go() {
    let mut site = Site::new().await;
    site.maintain(NIGHT).await;
    site.measure(NIGHT, END).await;
    let steps = ["1h", "2h", "10m", "1m", "90s", "7s"];
    let (from, to) = ("2026-11-19T22:13:14.5Z", "2026-11-20T02:20:00Z");
    let raw = answers(&site, from, to, &steps).await;
    for answer in &raw {
        assert_eq!(answer["resolution"], "raw");
        assert!(answer["items"].as_array().unwrap().len() > 2);
    }
    site.maintain(END).await;
    let rolled = answers(&site, from, to, &steps).await;
    assert_eq!(items(&rolled), items(&raw));
    let resolutions: Vec<_> = rolled.iter().map(|answer| &answer["resolution"]).collect();
    assert_eq!(resolutions[..6], ["1h", "1h", "1m", "1m", "raw", "raw"]);
    let sources = json!([
        {"resolution": "raw", "from": "2026-11-19T22:13:14.5Z", "to": "2026-11-19T22:14:00Z"},
        {"resolution": "1m", "from": "2026-11-19T22:14:00Z", "to": "2026-11-19T23:00:00Z"},
        {"resolution": "1h", "from": "2026-11-19T23:00:00Z", "to": "2026-11-20T02:00:00Z"},
        {"resolution": "raw", "from": "2026-11-20T02:00:00Z", "to": "2026-11-20T02:20:00Z"},
    ]);
    assert_eq!(rolled[0]["sources"], sources);

    // The 19th is dropped: only the samples in the first, broken minute are missed.
    let (from, to) = ("2026-11-19T22:14:00Z", "2026-11-20T02:20:00Z");
    let whole = answers(&site, from, to, &steps[..4]).await;
    let later = END + Duration::days(2);
    let dropped = site.maintain(later).await.dropped;
    assert!(
        dropped.contains(&"bandwidth_stats_20261119".to_owned()),
        "{dropped:?}"
    );
    let aged = answers(&site, from, to, &steps[..4]).await;
    assert_eq!(items(&aged), items(&whole));
    let coarser = answers(&site, from, to, &["90s"]).await;
    assert_eq!(coarser[0]["step_ms"], 120_000);
}

#[tokio::test]
async fn what_frames_hold_of_the_next_day_survives_the_drop_of_theirs() {
    let mut site = Site::new().await;
    site.maintain(NIGHT).await;
    site.measure(NIGHT, END).await;
    let (from, to) = ("2026-11-20T00:00:00Z", "2026-11-20T01:00:00Z");
    let before = answers(&site, from, to, &["7s"]).await;
    let later = END + Duration::days(2);
    site.maintain(later).await;
    assert_eq!(
        items(&answers(&site, from, to, &["7s"]).await),
        items(&before)
    );

    // Also if the hour is rolled up again.
    let sums = site.sums().await;
    site.server
        .sql("INSERT INTO late_hours VALUES (1, 'bandwidth_stats', '2026-11-20 00:00Z', now(), now())")
        .await;
    assert_eq!(site.maintain(later).await.rolled_up[0].revised, 1);
    assert_eq!(site.sums().await, sums);
}

#[tokio::test]
async fn a_range_up_to_now_ends_with_the_last_sample() {
    let mut site = Site::new().await;
    site.maintain(NIGHT).await;
    site.measure(NIGHT, END).await;
    let uri =
        "/api/v1/agents/edge/bandwidth?from=2026-10-20T00:00:00Z&to=2026-11-20T03:00:00Z&step=1h";
    let sum = |answer: &Value| -> u64 {
        let items = answer["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["samples"].as_u64().unwrap())
            .sum()
    };
    let raw = sum(&site.server.json(uri).await);
    site.maintain(END).await;
    let answer = site.server.json(uri).await;
    assert_eq!((sum(&answer), &answer["resolution"]), (raw, &json!("1h")));
    let stored = site
        .number("SELECT sum(cardinality(interval_us)) FROM bandwidth_stats WHERE agent_id = 1")
        .await;
    assert_eq!(raw, stored.unsigned_abs());
}

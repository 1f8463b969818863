//! The first steps of `docs/botnets.md`: a log in, and what is known at once.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::server::Server;

const BOTNETS: &str = "/api/v1/botnets";

#[tokio::test]
async fn a_log_is_in_every_answer_at_once() {
    let server = Server::start().await;
    let hour = Duration::HOUR;
    let time = |ago: Duration| (OffsetDateTime::now_utc() - ago).format(&Rfc3339).unwrap();
    let log = format!(
        "{},114.114.114.114,23\n{},52.166.36.133,2323\n{},114.114.114.114,23\n",
        time(hour * 3),
        time(hour * 2),
        time(hour)
    );
    let report = server
        .report(
            &format!("{BOTNETS}/mozi/logs?source=honeypot-1"),
            &[],
            log.clone(),
        )
        .await;
    assert_eq!(report["accepted"], 3);
    server
        .report(&format!("{BOTNETS}/moobot/logs"), &[], "52.166.36.133\n")
        .await;

    let nanjing = server
        .json(&format!("{BOTNETS}/mozi/statistics/cities?province=CN-JS"))
        .await;
    let expected = json!({
        "country": "CN", "country_name": "China", "province": "CN-JS",
        "province_name": "Jiangsu", "city": "320100", "city_name": "Nanjing",
        "nodes": 1, "communications": 2,
        "active_day": null, "active_week": null, "active_month": null,
    });
    assert_eq!(nanjing["items"], json!([expected]));
    let amounts = server.json("/api/province-amounts?botnet_type=mozi").await;
    assert_eq!(
        amounts,
        json!({"mozi": [{"province": "江苏", "amount": 1}]})
    );

    let node = server
        .json(&format!("{BOTNETS}/mozi/nodes/114.114.114.114?lang=zh"))
        .await;
    assert_eq!(
        (&node["city_name"], &node["communications"]),
        (&json!("南京"), &json!(2))
    );
    assert_eq!(node["sources"][0]["name"], "honeypot-1");
    assert_eq!(node["ports"], json!([{"port": 23, "hours": 2}]));
    let address = server.json("/api/v1/addresses/52.166.36.133").await;
    let families = address["items"].as_array().unwrap().iter();
    let families: Vec<_> = families
        .map(|item| (&item["family"], &item["country"]))
        .collect();
    let expected = [
        (&json!("moobot"), &json!("NL")),
        (&json!("mozi"), &json!("NL")),
    ];
    assert_eq!(families, expected);
    let active = server
        .addresses(&format!("{BOTNETS}/mozi/nodes?active=day"))
        .await;
    assert_eq!(active, ["52.166.36.133", "114.114.114.114"]);
    let file = server.get(&format!("{BOTNETS}/mozi/export")).await;
    assert_eq!(file.text().lines().count(), 3);
    let file = server
        .get(&format!("{BOTNETS}/mozi/export?what=communications"))
        .await;
    assert_eq!(
        file.text().lines().count(),
        4,
        "one for each hour of a node"
    );

    let run = server
        .post(&format!("{BOTNETS}/mozi/aggregations"), &json!({}))
        .await
        .json();
    let family = &run["run"]["families"][0];
    assert_eq!(
        (&family["nodes"], &family["communications"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(family["drift"]["places"], 0);
    let summary = server.json(&format!("{BOTNETS}/mozi/statistics")).await;
    assert_ne!(summary["active_as_of"], Value::Null);
    assert_eq!(summary["nodes"], 2);
}

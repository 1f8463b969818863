//! Amounts by place as earlier front ends ask for them, in the shape they read.

use serde_json::{Value, json};

use crate::botnets::server;

/// What a front end does with a list: adds up.
fn sum(list: &Value) -> i64 {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item["amount"].as_i64().unwrap()).sum()
}

fn amount(list: &Value, field: &str, name: &str) -> Value {
    let items = list.as_array().unwrap().iter();
    let mut fitting = items.filter(|item| item[field] == name);
    let found = fitting
        .next()
        .map_or(Value::Null, |item| item["amount"].clone());
    assert!(fitting.next().is_none(), "{name} once");
    found
}

#[tokio::test]
async fn provinces_have_their_short_chinese_names() {
    let server = server().await;
    let answer = server.json("/api/province-amounts?botnet_type=mozi").await;
    let keys: Vec<_> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["mozi"]);
    // n % 7 of 1 to 55: 1 to 6 come eight times each, 0 seven times.
    let expected = json!([
        {"province": "江苏", "amount": 16},
        {"province": "未知", "amount": 8},
        {"province": "浙江", "amount": 8},
    ]);
    assert_eq!(answer["mozi"], expected);
    let english = server.json("/api/province-amounts?type=mozi&lang=en").await;
    assert_eq!(amount(&english["mozi"], "province", "Jiangsu"), 16);
    assert_eq!(amount(&english["mozi"], "province", "Unknown"), 8);
}

#[tokio::test]
async fn without_a_family_there_is_a_list_for_each_and_all_are_of_one_length() {
    let server = server().await;
    for uri in [
        "/api/province-amounts",
        "/api/province-amounts?botnet_type=",
    ] {
        let answer = server.json(uri).await;
        let families = answer.as_object().unwrap();
        assert_eq!(families.len(), 6);
        for (family, list) in families {
            assert_eq!(list.as_array().unwrap().len(), 3, "{family}");
        }
        assert_eq!(sum(&answer["moobot"]), 5);
        assert_eq!(amount(&answer["ramnit"], "province", "江苏"), 0);
    }
}

#[tokio::test]
async fn cities_of_a_province_are_asked_for_by_its_name() {
    let server = server().await;
    // 江苏, 江苏省, Jiangsu and the code.
    for province in [
        "%E6%B1%9F%E8%8B%8F",
        "%E6%B1%9F%E8%8B%8F%E7%9C%81",
        "jiangsu",
        "CN-JS",
    ] {
        let uri = format!("/api/city-amounts/{province}?botnet_type=mozi");
        let answer = server.json(&uri).await;
        assert_eq!(answer["status"], "success");
        let list = &answer["data"]["mozi"];
        assert_eq!(amount(list, "city", "南京"), 8);
        assert_eq!(amount(list, "city", "苏州"), 8);
        assert_eq!(sum(list), 16);
    }
    let unknown = server
        .get("/api/city-amounts/Atlantis?botnet_type=mozi")
        .await;
    assert_eq!(unknown.json()["code"], "invalid_path");
    let all = server.json("/api/city-amounts?botnet_type=mozi").await;
    assert_eq!(sum(&all["mozi"]), 32);
    assert_eq!(amount(&all["mozi"], "city", "杭州"), 8);
}

#[tokio::test]
async fn countries_of_the_world_include_china_and_the_unknown() {
    let server = server().await;
    for path in ["world-amounts", "country-amounts"] {
        let answer = server.json(&format!("/api/{path}?botnet_type=mozi")).await;
        let list = &answer["mozi"];
        assert_eq!(amount(list, "country", "中国"), 32);
        assert_eq!(amount(list, "country", "荷兰"), 13);
        assert_eq!(amount(list, "country", "美国"), 8);
        assert_eq!(amount(list, "country", "未知"), 7);
        assert_eq!(sum(list), 60);
    }
}

#[tokio::test]
async fn the_pages_of_one_front_end_agree_with_each_other() {
    let server = server().await;
    let distribution = server.json("/api/botnet-distribution").await;
    let mozi = distribution
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "mozi");
    assert_eq!(
        *mozi.unwrap(),
        json!({"name": "mozi", "china_amount": 32, "global_amount": 60})
    );
    let stats = server.json("/api/node-stats/mozi").await;
    let data = &stats["data"];
    assert_eq!(stats["status"], "success");
    assert_eq!(data["total_nodes"], 60);
    assert_eq!(data["active_nodes"], 60);
    assert_eq!(data["country_distribution"]["中国"], 32);
    assert_eq!(data["province_distribution"]["江苏"], 16);
    let countries = data["country_distribution"].as_object().unwrap().values();
    assert_eq!(
        countries.map(|count| count.as_i64().unwrap()).sum::<i64>(),
        60
    );
    let types = server.json("/api/botnet-types").await;
    let names: Vec<_> = types["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["name"])
        .collect();
    assert_eq!(names.len(), 6);
    assert_eq!(types["data"][1]["display_name"], "Mozi");
}

#[tokio::test]
async fn a_family_that_is_not_there_is_a_404_with_a_detail() {
    let server = server().await;
    for uri in [
        "/api/province-amounts?botnet_type=nobody",
        "/api/world-amounts?botnet_type=nobody",
        "/api/city-amounts/CN-JS?botnet_type=nobody",
        "/api/node-stats/nobody",
    ] {
        let answer = server.get(uri).await;
        assert_eq!(answer.status.as_u16(), 404, "{uri}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("nobody"), "{detail}");
    }
}

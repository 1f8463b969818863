//! `/api/v1/geo/{ip}`: where an address is.

use serde_json::{Value, json};

use crate::server::Server;

#[tokio::test]
async fn an_address_is_located_with_names_in_the_language_asked_for() {
    let server = Server::start().await;
    let english = server.json("/api/v1/geo/114.114.114.114").await;
    assert_eq!(english["country"], "CN");
    assert_eq!(english["province_name"], "Jiangsu");
    assert_eq!(english["city"], "320100");
    assert_eq!(english["city_name"], "Nanjing");
    let description = english["edition"]["description"].as_str().unwrap();
    assert!(
        description.contains("IPFire Location Database"),
        "{description}"
    );
    assert_eq!(
        english["edition"]["fingerprint"].as_str().unwrap().len(),
        64
    );
    let chinese = server.json("/api/v1/geo/114.114.114.114?lang=zh").await;
    assert_eq!(chinese["country_name"], "中国");
    assert_eq!(chinese["city_name"], "南京");
    let v6 = server.json("/api/v1/geo/2400:3200::1").await;
    assert_eq!(
        (&v6["country"], &v6["province"]),
        (&json!("CN"), &Value::Null)
    );
}

#[tokio::test]
async fn what_is_nowhere_is_null_and_what_is_no_address_a_problem() {
    let server = Server::start().await;
    let private = server.json("/api/v1/geo/192.168.1.1").await;
    assert_eq!(
        (&private["country"], &private["country_name"]),
        (&Value::Null, &Value::Null)
    );
    for path in [
        "/api/v1/geo/nanjing",
        "/api/v1/geo/1.2.3.4?lang=fr",
        "/api/v1/geo/1.2.3.4?x=1",
    ] {
        assert_eq!(server.get(path).await.status, 400, "{path}");
    }
}

//! Nodes of botnets, page by page and as files.

use axum::http::StatusCode;
use serde_json::Value;

use crate::{
    botnets::{NODES, server, text},
    server::Server,
};

const LIST: &str = "/api/v1/botnets/mozi/nodes";

/// The last numbers of IPv4 addresses, in order.
fn numbers(addresses: &[String]) -> Vec<i64> {
    let four = addresses
        .iter()
        .filter_map(|address| address.strip_prefix("1.0.0."));
    four.map(|number| number.parse().unwrap()).collect()
}

async fn fitting(server: &Server, query: &str) -> Vec<i64> {
    numbers(&server.addresses(&format!("{LIST}?{query}")).await)
}

#[tokio::test]
async fn pages_hold_every_node_once_in_order_of_addresses() {
    let server = server().await;
    for limit in [1, 7, 60, 1000] {
        let addresses = server.addresses(&format!("{LIST}?limit={limit}")).await;
        assert_eq!(addresses.len() as i64, NODES, "{limit}");
        assert_eq!(numbers(&addresses), (1..=55).collect::<Vec<_>>());
        assert_eq!(addresses[55], "2400::1", "IPv6 comes behind IPv4");
    }
}

#[tokio::test]
async fn nodes_that_stay_come_once_while_others_come_and_go() {
    let server = server().await;
    let change = async |page: usize| {
        let (gone, new) = (page * 5 + 2, page * 5 + 100);
        server
            .sql(&format!(
                "DELETE FROM botnet_nodes WHERE ip = '1.0.0.{gone}';
                 INSERT INTO botnet_nodes (family_id, ip, first_seen, last_seen, communications,
                     place_id, edition_id)
                 SELECT family_id, '1.0.{page}.{new}', now(), now(), 1, 1, 1
                 FROM botnet_families WHERE name = 'mozi'"
            ))
            .await;
    };
    let pages = server.pages(&format!("{LIST}?limit=10"), change).await;
    let mut addresses: Vec<_> = pages
        .concat()
        .iter()
        .map(|node| text(&node["address"]))
        .collect();
    let all = addresses.len();
    let stayed = |n: &i64| n % 5 != 2 || *n < 7;
    for n in (1..=55).filter(stayed) {
        let address = format!("1.0.0.{n}");
        assert_eq!(
            addresses.iter().filter(|a| **a == address).count(),
            1,
            "{address}"
        );
    }
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), all, "none twice");
}

#[tokio::test]
async fn a_node_shows_its_place_and_when_it_was_seen() {
    let server = server().await;
    let page = server.json(&format!("{LIST}?cidr=1.0.0.8&lang=zh")).await;
    let mut node = page["items"][0].clone();
    assert!(node["id"].take().is_i64());
    let expected = serde_json::json!({
        "address": "1.0.0.8",
        "id": null,
        "country": "CN",
        "country_name": "中国",
        "province": "CN-JS",
        "province_name": "江苏",
        "city": "320100",
        "city_name": "南京",
        "first_seen": "2026-11-18T08:00:00Z",
        "last_seen": "2026-11-20T12:08:00Z",
        "communications": 8,
    });
    assert_eq!(node, expected);
}

#[tokio::test]
async fn filters_fit_what_they_say() {
    let server = server().await;
    let every = |fits: fn(i64) -> bool| (1..=55).filter(|n| fits(*n)).collect::<Vec<_>>();
    for (query, expected) in [
        ("cidr=1.0.0.0/29", every(|n| n < 8)),
        ("cidr=0.0.0.0/0", every(|_| true)),
        ("cidr=2400::/16", vec![]),
        ("country=CN", every(|n| (1..=4).contains(&(n % 7)))),
        ("country=unknown", every(|n| n % 7 == 0)),
        ("province=CN-JS", every(|n| n % 7 == 1 || n % 7 == 2)),
        ("country=CN&province=unknown", every(|n| n % 7 == 4)),
        ("city=330100", every(|n| n % 7 == 3)),
        ("country=DE", vec![]),
        ("min_communications=50", every(|n| n >= 50)),
        ("seen_from=2026-11-20T12:30:00Z", every(|n| n >= 30)),
        ("seen_to=2026-11-18T10:00:01Z", every(|n| n <= 10)),
        ("first_seen_from=2026-11-20T00:00:00Z", every(|n| n >= 48)),
        ("first_seen_to=2026-11-18T12:00:00Z", every(|n| n < 12)),
        (
            "first_seen_from=2026-11-19T00:00:00Z&first_seen_to=2026-11-19T03:00:00Z",
            every(|n| (24..27).contains(&n)),
        ),
        (
            "seen_from=2026-11-20T12:30:00Z&country=US&min_communications=40",
            every(|n| n >= 40 && n % 7 == 6),
        ),
    ] {
        assert_eq!(fitting(&server, query).await, expected, "{query}");
        let paged = format!("{query}&limit=2");
        assert_eq!(fitting(&server, &paged).await, expected, "{paged}");
        // Places, times and addresses lead to the nodes on different ways.
        let small = format!("{query}&seen_from=2026-11-01T00:00:00Z");
        if !query.contains("seen_from") {
            assert_eq!(fitting(&server, &small).await, expected, "{small}");
        }
    }
}

#[tokio::test]
async fn seen_between_means_that_a_sighting_lies_between() {
    let server = server().await;
    // All were seen before and after, few in between: 18 November from 10:00 to 12:00.
    let between = "seen_from=2026-11-18T10:00:00Z&seen_to=2026-11-18T12:00:00Z";
    assert_eq!(fitting(&server, between).await, [10, 11]);
    // An hour with sightings of which only the first and the last moment are known.
    server
        .sql(
            "UPDATE botnet_communications SET first_seen = bucket + interval '10 minutes',
                 last_seen = bucket + interval '50 minutes'
             WHERE ip = '1.0.0.20' AND source_id = 1;
             UPDATE botnet_nodes SET first_seen = '2026-11-18 00:00Z' WHERE ip = '1.0.0.20'",
        )
        .await;
    let within = "seen_from=2026-11-18T20:20:00Z&seen_to=2026-11-18T20:30:00Z";
    assert_eq!(fitting(&server, within).await, [20]);
    let before = "seen_from=2026-11-18T20:01:00Z&seen_to=2026-11-18T20:09:00Z";
    assert_eq!(fitting(&server, before).await, [0_i64; 0]);
}

#[tokio::test]
async fn a_rare_node_is_found_by_its_communications() {
    let server = server().await;
    server.sql("DELETE FROM botnet_active").await;
    // Nothing is known of how many were active: two days of communications are looked at.
    let now = time::OffsetDateTime::now_utc();
    server.communications_of(now.date()).await;
    server
        .sql(
            "UPDATE botnet_nodes SET last_seen = now() WHERE ip = '1.0.0.33';
             INSERT INTO botnet_communications (family_id, ip, bucket, source_id, count, first_seen, last_seen)
             SELECT family_id, ip, date_trunc('hour', now(), 'UTC'), 1, 1, now(), now()
             FROM botnet_nodes WHERE ip = '1.0.0.33'",
        )
        .await;
    assert_eq!(fitting(&server, "active=day&limit=1").await, [33]);
    assert_eq!(fitting(&server, "active=day&country=NL").await, [33]);
    assert_eq!(fitting(&server, "active=day&country=US").await, [0_i64; 0]);
}

#[tokio::test]
async fn lists_are_sorted_by_what_was_asked_for() {
    let server = server().await;
    let by_count = server
        .addresses(&format!("{LIST}?sort=communications&limit=9"))
        .await;
    assert_eq!(numbers(&by_count), (1..=55).rev().collect::<Vec<_>>());
    assert_eq!(
        by_count.len() as i64,
        NODES,
        "equal ones come once each, too"
    );
    let by_time = server
        .addresses(&format!("{LIST}?sort=last_seen&country=CN&limit=4"))
        .await;
    let chinese = (1..=55).rev().filter(|n| (1..=4).contains(&(n % 7)));
    assert_eq!(numbers(&by_time), chinese.collect::<Vec<_>>());
}

#[tokio::test]
async fn too_many_nodes_are_not_sorted() {
    let server = server().await;
    server
        .sql("UPDATE botnet_statistics SET nodes = 1000000")
        .await;
    let answer = server.get(&format!("{LIST}?sort=last_seen")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let problem = answer.json();
    assert_eq!(
        (&problem["code"], &problem["parameter"]),
        (&"too_many_nodes".into(), &"sort".into())
    );
    let narrow = server
        .json(&format!("{LIST}?sort=last_seen&cidr=1.0.0.0/28"))
        .await;
    assert_eq!(narrow["items"].as_array().unwrap().len(), 15);
}

#[tokio::test]
async fn a_cursor_keeps_the_meaning_of_active() {
    let server = server().await;
    server
        .sql("UPDATE botnet_nodes SET last_seen = now() - interval '23 hours 59 minutes'")
        .await;
    let page = server
        .json(&format!("{LIST}?active=day&limit=10&cidr=1.0.0.0/16"))
        .await;
    let cursor = text(&page["next_cursor"]);
    let next = format!("{LIST}?active=day&limit=10&cidr=1.0.0.0/16&cursor={cursor}");
    assert_eq!(server.json(&next).await["items"][0]["address"], "1.0.0.11");
    // With other filters it is refused.
    let other = format!("{LIST}?active=week&limit=10&cidr=1.0.0.0/16&cursor={cursor}");
    assert_eq!(server.get(&other).await.json()["code"], "invalid_cursor");
}

#[tokio::test]
async fn files_hold_all_that_fit() {
    let server = server().await;
    let lines = server
        .get(&format!("{LIST}?format=ndjson&min_communications=10"))
        .await;
    let parsed: Vec<Value> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(parsed.len(), 46);
    let table = server
        .get(&format!("{LIST}?format=csv&sort=communications"))
        .await;
    assert_eq!(table.text().lines().count() as i64, NODES + 1);
    assert!(table.text().starts_with("address,id,country,country_name,"));
    let first = table.text().lines().nth(1).unwrap();
    assert!(first.starts_with("1.0.0.55,"), "{first}");
    let few = server.get(&format!("{LIST}?format=csv&limit=3")).await;
    assert_eq!(few.text().lines().count(), 4);
    let refused = server.get(&format!("{LIST}?format=csv&cursor=x")).await;
    assert_eq!(refused.json()["parameter"], "cursor");
}

#[tokio::test]
async fn a_file_beyond_one_part_holds_every_node_once() {
    let server = server().await;
    server
        .sql(
            "INSERT INTO botnet_nodes (family_id, ip, first_seen, last_seen, communications, place_id,
                 edition_id)
             SELECT family_id, inet '9.0.0.0' + n, '2026-11-18Z', '2026-11-19Z', n % 100, n % 7, 1
             FROM botnet_families, generate_series(1, 12000) n WHERE name = 'ramnit'",
        )
        .await;
    for query in [
        "",
        "&country=CN",
        "&min_communications=50",
        "&sort=communications",
    ] {
        let uri = format!("/api/v1/botnets/ramnit/nodes?format=csv{query}");
        let file = server.get(&uri).await;
        let mut rows: Vec<_> = file.text().lines().skip(1).collect();
        let expected = match query {
            "&country=CN" => (1..=12000).filter(|n| (1..=4).contains(&(n % 7))).count(),
            "&min_communications=50" => 6000,
            _ => 12000,
        };
        assert_eq!(rows.len(), expected, "{query}");
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), expected, "{query}");
    }
}

#[tokio::test]
async fn communications_are_exported_day_by_day() {
    let server = server().await;
    let export = "/api/v1/botnets/mozi/export?what=communications";
    let stored = server.number(
        "SELECT count(*) FROM botnet_communications
         WHERE family_id = (SELECT family_id FROM botnet_families WHERE name = 'mozi')",
    );
    let all = server.get(export).await;
    assert_eq!(all.text().lines().count() as i64, stored.await + 1);
    assert!(
        all.text()
            .starts_with("address,hour,first_seen,last_seen,communications,source_kind,")
    );
    let some = format!("{export}&format=ndjson&from=2026-11-20T12:00:00Z&to=2026-11-20T13:00:00Z");
    let lines = server.get(&some).await;
    let rows: Vec<Value> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 54);
    assert_eq!(rows[0]["address"], "1.0.0.2");
    assert_eq!(rows[0]["source"], "edge");
    assert_eq!(rows[0]["agent"], "0000000000000001");
    assert_eq!(rows[0]["local_ports"], serde_json::json!([443]));
    let nodes = server.get("/api/v1/botnets/mozi/export").await;
    assert_eq!(nodes.text().lines().count() as i64, NODES + 1);
    assert_eq!(
        nodes.header("content-type"),
        "text/csv; charset=utf-8; header=present"
    );
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_in_a_sentence() {
    let server = server().await;
    for (query, parameter) in [
        ("cidr=nonsense", "cidr"),
        ("cidr=1.0.0.0/33", "cidr"),
        ("country=Chine", "country"),
        ("seen_from=yesterday", "seen_from"),
        (
            "seen_from=2026-11-20T00:00:00Z&seen_to=2026-11-19T00:00:00Z",
            "seen_from",
        ),
        ("active=year", "active"),
        ("min_communications=many", "min_communications"),
        ("sort=name", "sort"),
        ("limit=1001", "limit"),
        ("format=xml", "format"),
        ("lang=fr", "lang"),
    ] {
        let answer = server.get(&format!("{LIST}?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.json()["parameter"], parameter, "{query}");
    }
    let unknown = server.get("/api/v1/botnets/nobody/nodes").await;
    assert_eq!(unknown.json()["code"], "unknown_family");
    let misspelt = server.get(&format!("{LIST}?contry=CN")).await;
    assert_eq!(misspelt.json()["code"], "invalid_query");
}

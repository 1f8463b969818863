//! Statistics of botnets: whatever is folded or not, they are what a count of the nodes says.

use serde_json::{Value, json};

use crate::{botnets::server, server::Server};

const MOZI: &str = "(SELECT family_id FROM botnet_families WHERE name = 'mozi')";

/// Items by their code.
fn item<'a>(answer: &'a Value, field: &str, code: Option<&str>) -> &'a Value {
    let items = answer["items"].as_array().unwrap();
    let fits = |item: &&Value| item[field].as_str() == code;
    items.iter().find(fits).expect("an item with the code")
}

#[tokio::test]
async fn every_level_is_what_a_count_of_the_nodes_says() {
    let server = server().await;
    for (level, columns, filter) in [
        ("countries", "country, '', ''", ""),
        ("provinces", "country, province, ''", "WHERE country = 'CN'"),
        ("cities", "country, province, city", "WHERE country = 'CN'"),
    ] {
        let counted: Vec<(String, String, String, i64, i64)> = sqlx::query_as(&format!(
            "SELECT {columns}, count(*), sum(communications)::bigint
             FROM botnet_nodes JOIN botnet_places USING (place_id) {filter}
             {} family_id = {MOZI} GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3",
            if filter.is_empty() { "WHERE" } else { "AND" }
        ))
        .fetch_all(&server.database)
        .await
        .unwrap();
        let answer = server
            .json(&format!("/api/v1/botnets/mozi/statistics/{level}"))
            .await;
        let code = |code: &Value| code.as_str().unwrap_or_default().to_owned();
        let items = answer["items"].as_array().unwrap().iter();
        let shown: Vec<_> = items
            .map(|item| {
                (
                    code(&item["country"]),
                    code(&item["province"]),
                    code(&item["city"]),
                    item["nodes"].as_i64().unwrap(),
                    item["communications"].as_i64().unwrap(),
                )
            })
            .collect();
        assert_eq!(shown, counted, "{level}");
        let nodes: i64 = counted.iter().map(|row| row.3).sum();
        assert_eq!(answer["nodes"], nodes);
        assert_eq!(answer["omitted"], 0);
        assert_eq!(answer["families"], json!(["mozi"]));
        assert_eq!(answer["by"], level);
    }
}

#[tokio::test]
async fn places_have_names_in_the_language_asked_for_and_unknown_ones_none() {
    let server = server().await;
    let english = server.json("/api/v1/botnets/mozi/statistics/cities").await;
    let nanjing = item(&english, "city", Some("320100"));
    assert_eq!(nanjing["city_name"], "Nanjing");
    assert_eq!(nanjing["province_name"], "Jiangsu");
    assert_eq!(nanjing["country_name"], "China");
    let chinese = server
        .json("/api/v1/botnets/mozi/statistics/cities?lang=zh")
        .await;
    let nanjing = item(&chinese, "city", Some("320100"));
    assert_eq!(nanjing["city_name"], "南京");
    assert_eq!(nanjing["province_name"], "江苏");
    assert_eq!(nanjing["country_name"], "中国");
    let countries = server
        .json("/api/v1/botnets/mozi/statistics/countries")
        .await;
    let nowhere = item(&countries, "country", None);
    assert_eq!(nowhere["country_name"], Value::Null);
    assert!(nowhere["nodes"].as_i64().unwrap() > 0);
}

#[tokio::test]
async fn active_nodes_come_with_the_end_of_their_windows() {
    let server = server().await;
    let mozi = server
        .json("/api/v1/botnets/mozi/statistics/countries")
        .await;
    assert_eq!(mozi["active_as_of"], "2026-11-20T13:00:00Z");
    assert_eq!(
        (&mozi["active_day"], &mozi["active_week"]),
        (&json!(55), &json!(60))
    );
    let netherlands = item(&mozi, "country", Some("NL"));
    assert_eq!(netherlands["active_month"], netherlands["nodes"]);
    // Nobody has determined them for moobot.
    let moobot = server
        .json("/api/v1/botnets/moobot/statistics/countries")
        .await;
    assert_eq!(moobot["active_as_of"], Value::Null);
    assert_eq!(moobot["active_day"], Value::Null);
    assert_eq!(moobot["items"][0]["active_day"], Value::Null);
}

#[tokio::test]
async fn active_nodes_that_were_counted_and_are_none_are_0_and_not_unknown() {
    let server = server().await;
    server
        .sql(
            "INSERT INTO botnet_aggregations (family_id, run_id, trigger, started_at, finished_at, nodes,
                 communications, places, drift_places, drift_nodes, drift_communications, active_as_of)
             SELECT family_id, 1, 'job', now(), now(), 6, 18, 5, 0, 0, 0, '2026-11-20 13:00Z'
             FROM botnet_families WHERE name = 'moobot'",
        )
        .await;
    for uri in [
        "/api/v1/botnets/moobot",
        "/api/v1/botnets/moobot/statistics",
        "/api/v1/botnets/moobot/statistics/countries",
    ] {
        let answer = server.json(uri).await;
        assert_eq!(answer["active_as_of"], "2026-11-20T13:00:00Z", "{uri}");
        assert_eq!(answer["active_month"], 0, "{uri}");
    }
}

#[tokio::test]
async fn provinces_and_cities_are_narrowed_by_what_lies_above() {
    let server = server().await;
    let of = async |query: &str| {
        let uri = format!("/api/v1/botnets/mozi/statistics/{query}");
        let answer = server.json(&uri).await;
        let items = answer["items"].as_array().unwrap().clone();
        let code = |item: &Value| item["city"].as_str().unwrap_or("-").to_owned();
        let mut codes: Vec<_> = items.iter().map(code).collect();
        codes.sort();
        codes
    };
    assert_eq!(of("cities?province=cn-js").await, ["320100", "320500"]);
    assert_eq!(of("cities?country=NL").await, ["-"]);
    assert_eq!(of("cities?country=unknown").await, ["-"]);
    assert_eq!(of("cities?country=CN&province=unknown").await, ["-"]);
    assert_eq!(of("cities?country=DE").await.len(), 0);
}

#[tokio::test]
async fn what_is_left_out_counts_in_the_totals() {
    let server = server().await;
    let uri = "/api/v1/botnets/mozi/statistics/countries";
    let all = server.json(uri).await;
    let one = server
        .json(&format!("{uri}?limit=1&sort=communications"))
        .await;
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    assert_eq!(one["omitted"], 3);
    for field in ["nodes", "communications", "active_week"] {
        assert_eq!(one[field], all[field], "{field}");
    }
}

#[tokio::test]
async fn families_together_are_the_sum_of_each() {
    let server = server().await;
    let nodes = async |uri: &str| server.json(uri).await["nodes"].as_i64().unwrap();
    let mozi = nodes("/api/v1/botnets/mozi/statistics").await;
    let moobot = nodes("/api/v1/botnets/moobot/statistics").await;
    assert_eq!((mozi, moobot), (60, 6));
    for (uri, expected) in [
        ("/api/v1/botnets/statistics", 66),
        ("/api/v1/botnets/statistics/countries", 66),
        ("/api/v1/botnets/statistics/countries?families=moobot", 6),
        ("/api/v1/botnets/statistics?families=mozi,moobot,mozi", 66),
    ] {
        assert_eq!(nodes(uri).await, expected, "{uri}");
    }
    let list = server.json("/api/v1/botnets").await;
    let of = |name| item(&list, "name", Some(name))["nodes"].clone();
    assert_eq!(
        (of("mozi"), of("moobot"), of("ramnit")),
        (json!(60), json!(6), json!(0))
    );
}

#[tokio::test]
async fn the_summary_says_how_much_is_located() {
    let server = server().await;
    let summary = server.json("/api/v1/botnets/mozi/statistics").await;
    assert_eq!(summary["countries"], 3);
    assert_eq!(summary["provinces"], 2);
    assert_eq!(summary["cities"], 3);
    let without = |column: &str| {
        format!(
            "SELECT count(*) FROM botnet_nodes JOIN botnet_places USING (place_id)
             WHERE family_id = {MOZI} AND {column} = ''"
        )
    };
    for column in ["country", "province", "city"] {
        let counted = server.number(&without(column)).await;
        assert_eq!(
            summary[format!("nodes_without_{column}")],
            counted,
            "{column}"
        );
    }
}

#[tokio::test]
async fn every_format_holds_the_same_places() {
    let server = server().await;
    let uri = "/api/v1/botnets/mozi/statistics/cities";
    let json = server.json(uri).await;
    let lines = server.get(&format!("{uri}?format=ndjson")).await;
    let lines: Vec<Value> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json!(lines), json["items"]);
    let table = server.get(&format!("{uri}?format=csv&lang=zh")).await;
    assert_eq!(
        table.header("content-disposition"),
        "attachment; filename=\"botnet-mozi-cities.csv\""
    );
    let head = "country,country_name,province,province_name,city,city_name,nodes,communications,\
                active_day,active_week,active_month";
    assert_eq!(table.text().lines().next(), Some(head));
    assert_eq!(table.text().lines().count(), lines.len() + 1);
    assert!(
        table.text().contains("CN,中国,CN-JS,江苏,320100,南京,"),
        "{}",
        table.text()
    );
}

#[tokio::test]
async fn the_trend_has_the_days_that_were_and_says_which_are_due() {
    let server = server().await;
    let trend = "/api/v1/botnets/mozi/statistics/trend";
    let days = async |query: &str| server.json(&format!("{trend}?{query}")).await;
    let all = days("from=2026-11-01&to=2026-12-01").await;
    let expected = json!([
        {"day": "2026-11-18", "nodes": 21, "new_nodes": 0, "communications": 21, "due": false},
        {"day": "2026-11-19", "nodes": 91, "new_nodes": 7, "communications": 721, "due": true},
        {"day": "2026-11-20", "nodes": 161, "new_nodes": 14, "communications": 1421, "due": false},
    ]);
    assert_eq!(all["items"], expected);
    let one = days("from=2026-11-19&to=2026-11-20").await;
    assert_eq!(one["items"], json!([expected[1]]));
    // Places 1 and 2.
    let jiangsu = days("from=2026-11-18&to=2026-11-19&province=CN-JS").await;
    assert_eq!(jiangsu["items"][0]["nodes"], 3);
    let table = server
        .get(&format!("{trend}?from=2026-11-18&to=2026-11-19&format=csv"))
        .await;
    let expected = "day,nodes,new_nodes,communications,due\r\n2026-11-18,21,0,21,false\r\n";
    assert_eq!(table.text(), expected);
}

#[tokio::test]
async fn what_there_is_most_of_is_listed_without_what_is_not_known() {
    let server = server().await;
    let top = "/api/v1/botnets/mozi/top";
    let places = server.json(&format!("{top}?limit=2")).await;
    assert_eq!(places["countries"][0]["country"], "CN");
    assert_eq!(places["countries"].as_array().unwrap().len(), 2);
    assert_eq!(places["provinces"][0]["province"], "CN-JS");
    let known = |list: &Value, field: &str| {
        let list = list.as_array().unwrap();
        assert!(list.iter().all(|item| item[field].is_string()), "{list:?}");
    };
    known(&places["cities"], "city");
    assert_eq!(
        (&places["nodes"], &places["ports"]),
        (&Value::Null, &Value::Null)
    );

    let uri =
        format!("{top}?of=nodes,ports&from=2026-11-18T00:00:00Z&to=2026-11-22T00:00:00Z&limit=3");
    let seen = server.json(&uri).await;
    let nodes = seen["nodes"].as_array().unwrap().iter();
    let nodes: Vec<_> = nodes
        .map(|node| (&node["address"], &node["communications_in_range"]))
        .collect();
    let expected = [("1.0.0.55", 55), ("1.0.0.54", 54), ("1.0.0.53", 53)];
    let expected = expected.map(|(address, count)| (json!(address), json!(count)));
    assert_eq!(
        nodes,
        expected.iter().map(|(a, c)| (a, c)).collect::<Vec<_>>()
    );
    assert_eq!(
        seen["ports"],
        json!([{"port": 23, "nodes": 60}, {"port": 2323, "nodes": 60}])
    );
    assert_eq!(seen["countries"], Value::Null);
}

#[tokio::test]
async fn statistics_are_read_without_touching_the_nodes() {
    let server = server().await;
    server
        .sql("ALTER TABLE botnet_nodes RENAME TO hidden")
        .await;
    for uri in [
        "/api/v1/botnets",
        "/api/v1/botnets/mozi",
        "/api/v1/botnets/mozi/statistics",
        "/api/v1/botnets/mozi/statistics/provinces",
        "/api/v1/botnets/statistics/cities",
        "/api/v1/botnets/mozi/statistics/trend",
        "/api/v1/botnets/mozi/top",
        "/api/province-amounts",
        "/api/world-amounts",
    ] {
        server.json(uri).await;
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_in_a_sentence() {
    let server: Server = server().await;
    for (uri, parameter) in [
        ("statistics/countries?country=China", "country"),
        ("statistics/provinces?province=JS", "province"),
        ("statistics/provinces?sort=name", "sort"),
        ("statistics/provinces?limit=0", "limit"),
        ("statistics/provinces?lang=de", "lang"),
        ("statistics/provinces?format=xml", "format"),
        ("statistics/trend?from=yesterday", "from"),
        ("statistics/trend?from=2026-11-20&to=2026-11-20", "from"),
        ("top?of=everything", "of"),
        ("top?limit=1000", "limit"),
        (
            "top?from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z",
            "from",
        ),
    ] {
        let answer = server.get(&format!("/api/v1/botnets/mozi/{uri}")).await;
        let problem = answer.json();
        assert_eq!(problem["code"], "invalid_parameter", "{uri}");
        assert_eq!(problem["parameter"], parameter, "{uri}");
    }
    for (uri, code) in [
        ("/api/v1/botnets/nobody/statistics", "unknown_family"),
        (
            "/api/v1/botnets/nobody/statistics/countries",
            "unknown_family",
        ),
        (
            "/api/v1/botnets/statistics/countries?families=mozi,nobody",
            "unknown_family",
        ),
        ("/api/v1/botnets/mozi/statistics/continents", "unknown_path"),
        (
            "/api/v1/botnets/mozi/statistics/countries?cursor=x",
            "invalid_query",
        ),
    ] {
        assert_eq!(server.get(uri).await.json()["code"], code, "{uri}");
    }
}

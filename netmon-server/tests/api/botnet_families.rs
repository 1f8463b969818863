//! Families of botnets: those there are from the start, and what can be done with them.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};

use crate::{
    botnets::server,
    server::{Answer, Server},
};

const LIST: &str = "/api/v1/botnets";

async fn send(server: &Server, method: Method, uri: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    server.answer(request).await
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|family| family["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn six_families_are_there_from_the_start() {
    let server = Server::start().await;
    let list = server.json(LIST).await;
    let expected = [
        "andromeda",
        "asruex",
        "leethozer",
        "moobot",
        "mozi",
        "ramnit",
    ];
    assert_eq!(names(&list), expected);
    for family in list["items"].as_array().unwrap() {
        assert_eq!(
            (&family["nodes"], &family["communications"]),
            (&json!(0), &json!(0))
        );
        assert_eq!(family["active_as_of"], Value::Null);
    }
    let pages = server.pages(&format!("{LIST}?limit=4"), async |_| ()).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
}

#[tokio::test]
async fn an_alias_leads_to_its_family_in_any_case() {
    let server = Server::start().await;
    for name in ["andromeda", "gamarue", "WAUCHOS"] {
        let family = server.json(&format!("{LIST}/{name}")).await;
        assert_eq!(family["name"], "andromeda");
        assert_eq!(family["aliases"], json!(["gamarue", "wauchos"]));
    }
}

#[tokio::test]
async fn a_family_is_added_changed_and_removed() {
    let server = server().await;
    let new = json!({"name": "Mirai", "aliases": ["katana", "okiru"]});
    let added = server.post(LIST, &new).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text());
    assert_eq!(added.header("location"), "/api/v1/botnets/mirai");
    assert_eq!(added.json()["name"], "mirai");
    assert_eq!(added.json()["watched"], false);

    let change = json!({"watched": true, "aliases": ["satori"]});
    let changed = send(&server, Method::PATCH, &format!("{LIST}/okiru"), &change).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    let family = server.json(&format!("{LIST}/satori")).await;
    assert_eq!(
        (&family["name"], &family["watched"]),
        (&json!("mirai"), &json!(true))
    );
    assert_eq!(
        server.get(&format!("{LIST}/okiru")).await.status,
        StatusCode::NOT_FOUND
    );

    // A name that becomes another keeps the nodes.
    let renamed = send(
        &server,
        Method::PATCH,
        &format!("{LIST}/mozi"),
        &json!({"name": "mozi2"}),
    )
    .await;
    assert_eq!(renamed.json()["nodes"], 60);

    let uri = format!("{LIST}/moobot");
    for query in ["", "?confirm=", "?confirm=mozi"] {
        let refused = server
            .request(Method::DELETE, &format!("{uri}{query}"))
            .await;
        assert_eq!(refused.json()["parameter"], "confirm");
    }
    let removed = server
        .request(Method::DELETE, &format!("{uri}?confirm=moobot"))
        .await;
    assert_eq!(removed.status, StatusCode::ACCEPTED, "{}", removed.text());
    assert_eq!(removed.json(), json!({"family": "moobot", "nodes": 6}));
    assert_eq!(server.get(&uri).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        names(&server.json(LIST).await),
        [
            "andromeda",
            "asruex",
            "leethozer",
            "mirai",
            "mozi2",
            "ramnit"
        ]
    );
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let server = Server::start().await;
    for (body, status, code) in [
        (json!({}), 400, "invalid_body"),
        (json!({"name": ""}), 400, "invalid_body"),
        (json!({"name": "two words"}), 400, "invalid_body"),
        (json!({"name": "a".repeat(33)}), 400, "invalid_body"),
        (json!({"name": "statistics"}), 400, "invalid_body"),
        (
            json!({"name": "new", "aliases": ["Audit"]}),
            400,
            "invalid_body",
        ),
        (json!({"name": "new", "color": "red"}), 400, "invalid_body"),
        (json!({"name": "mozi"}), 409, "family_conflict"),
        (
            json!({"name": "new", "aliases": ["gamarue"]}),
            409,
            "family_conflict",
        ),
    ] {
        let answer = server.post(LIST, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        assert_eq!(answer.json()["code"], code, "{body}");
    }
    let taken = json!({"name": "mozi"});
    let answer = send(&server, Method::PATCH, &format!("{LIST}/asruex"), &taken).await;
    assert_eq!(answer.json()["code"], "family_conflict");
    let unknown = send(
        &server,
        Method::PATCH,
        &format!("{LIST}/nobody"),
        &json!({}),
    )
    .await;
    assert_eq!(unknown.json()["code"], "unknown_family");
    let form = Request::post(LIST).body(Body::from("name=new")).unwrap();
    assert_eq!(server.answer(form).await.json()["code"], "not_json");
}

#[tokio::test]
async fn an_unknown_family_is_said_with_the_way_to_those_there_are() {
    let server = Server::start().await;
    for path in [
        "",
        "/nodes",
        "/statistics",
        "/statistics/trend",
        "/top",
        "/export",
        "/audit",
        "/aggregations",
    ] {
        let answer = server.get(&format!("{LIST}/nobody{path}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        let problem = answer.json();
        assert_eq!(problem["code"], "unknown_family", "{path}");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("GET /api/v1/botnets lists them")
        );
    }
}

#[tokio::test]
async fn statistics_are_counted_afresh_on_request() {
    let server = server().await;
    let mozi = "/api/v1/botnets/mozi/aggregations";
    assert_eq!(server.json(mozi).await["items"], json!([]));
    let answer = server.post(mozi, &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let run = answer.json();
    assert_eq!(run["finished"], true);
    let family = &run["run"]["families"][0];
    assert_eq!(
        (&family["family"], &family["nodes"]),
        (&json!("mozi"), &json!(60))
    );
    assert_eq!(
        family["drift"],
        json!({"places": 0, "nodes": 0, "communications": 0})
    );
    let all = server
        .post("/api/v1/botnets/aggregations", &json!({}))
        .await;
    assert_eq!(all.json()["run"]["families"].as_array().unwrap().len(), 6);

    let runs = server.json(mozi).await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 2);
    assert_eq!(runs["items"][0]["trigger"], "api");
    assert_eq!(runs["items"][0]["error"], Value::Null);
    let pages = server
        .pages("/api/v1/botnets/aggregations?limit=1", async |_| ())
        .await;
    // Empty families are skipped.
    assert_eq!(pages.len(), 3);
    let families: Vec<_> = pages
        .concat()
        .iter()
        .map(|run| run["family"].clone())
        .collect();
    assert!(families.contains(&json!("moobot")), "{families:?}");
    let unknown = server
        .post(
            "/api/v1/botnets/aggregations",
            &json!({"families": ["nobody"]}),
        )
        .await;
    assert_eq!(unknown.json()["code"], "unknown_family");
}

#[tokio::test]
async fn the_last_audit_is_shown_whole_and_by_family() {
    let server = server().await;
    for uri in ["/api/v1/botnets/audit", "/api/v1/botnets/mozi/audit"] {
        let answer = server.get(uri).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (404, &json!("no_audit"))
        );
    }
    server
        .sql(
            "INSERT INTO job_results (job, finished_at, result) VALUES ('botnet_audit', now(),
             '{\"started_at\": \"2026-11-20T12:00:00Z\", \"threshold\": 99.0, \"clean\": false,
               \"families\": [{\"family\": \"mozi\", \"coverage_percent\": 98.68}]}')",
        )
        .await;
    assert_eq!(server.json("/api/v1/botnets/audit").await["clean"], false);
    let mozi = server.json("/api/v1/botnets/mozi/audit").await;
    assert_eq!(mozi["result"]["coverage_percent"], 98.68);
    assert_eq!(mozi["started_at"], "2026-11-20T12:00:00Z");
    let other = server.get("/api/v1/botnets/moobot/audit").await;
    assert_eq!(other.json()["code"], "no_audit");
}

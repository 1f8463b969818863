//! `/api/openapi.json`, committed as `docs/openapi.json`.

use std::{collections::BTreeSet, fs, path::Path};

use netmon_server::api::{document, paths};
use serde_json::Value;

use crate::server::Server;

#[tokio::test]
async fn the_description_is_served() {
    let server = Server::start().await;
    let answer = server.get("/api/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.text(), document());
}

/// Run with `UPDATE_OPENAPI=1` to write the file.
#[test]
fn the_committed_description_is_the_current_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&file, document()).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == document(),
        "docs/openapi.json is out of date; write it with \
         UPDATE_OPENAPI=1 cargo test -p netmon-server --test api openapi"
    );
}

#[test]
fn every_route_is_described_and_every_description_is_routed() {
    let document: Value = serde_json::from_str(&document()).unwrap();
    let described: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    // The page that shows the description is not part of it.
    let page = |path: &&str| path.starts_with("/api/docs");
    let routed: BTreeSet<_> = paths()
        .filter(|path| !page(path))
        .map(str::to_owned)
        .collect();
    assert_eq!(described, routed);
}

#[test]
fn every_operation_has_a_name_and_every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&document()).unwrap();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(
                names.insert(operation["operationId"].as_str().unwrap()),
                "{path}"
            );
            assert!(
                operation["summary"].as_str().unwrap().ends_with('.'),
                "{path}"
            );
            for response in operation["responses"].as_object().unwrap().values() {
                assert_ne!(response["description"].as_str().unwrap(), "", "{path}");
            }
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let name = reference.split('"').next().unwrap();
        let name = name.strip_prefix("#/components/schemas/").unwrap_or(name);
        assert!(schemas.contains_key(name), "{name}");
    }
}

//! What the crate and its schema must hold.

use std::collections::BTreeSet;

use sqlx::{Connection, PgConnection};
use tokio::sync::OnceCell;

use super::{
    catalog,
    cluster::Cluster,
    declared::{
        ADVISORY_LOCKS, DEFINING_TABLES, DO_BLOCKS, DRAWING_MIGRATIONS, DRAWN_NUMBERS,
        LOCAL_FIGURES, NARROW_IDS, REFERENCE_TABLES,
    },
    rule::Finding,
    sources, statements, tokens,
};

/// A connection to a database with all tables.
pub async fn migrated() -> PgConnection {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let cluster = CLUSTER.get_or_init(Cluster::start).await;
    let options = cluster.connect_options("postgres");
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    sqlx::migrate!("./migrations")
        .run(&mut connection)
        .await
        .unwrap();
    connection
}

fn none(findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[tokio::test]
async fn the_tables_hold_the_rules_of_a_distributed_database() {
    none(&catalog::lint(&mut migrated().await).await);
}

#[test]
fn every_statement_holds_the_rules_of_a_distributed_database() {
    let sources = sources::all();
    let findings: BTreeSet<_> = sources
        .iter()
        .flat_map(|(file, text)| statements::lint(file, text))
        .collect();
    none(&Vec::from_iter(findings));
}

#[test]
fn the_lint_sees_statements_of_every_kind_of_file() {
    let sources = sources::all();
    for (file, word) in [
        ("migrations/0001_first_tables.sql", "partition"),
        ("src/store/interfaces.rs", "excluded"),
        ("src/store/upsert.rs", "excluded"),
        ("src/store/rollup/exchanges/replace.sql", "excluded"),
        ("src/store/rollup/system/replace.sql", "excluded"),
        ("src/store/rollup/bandwidth/fold_add.sql", "conflict"),
        ("src/store/trim.rs", "delete"),
    ] {
        let seen = |(name, text): &sources::Source| {
            name == file && tokens::tokens(text).iter().any(|t| t.is(word))
        };
        assert!(sources.iter().any(seen), "no {word} in {file}");
    }
}

#[test]
fn every_declared_file_needs_its_exception() {
    let sources = sources::all();
    let has = |file: &str, word: &str| {
        sources.iter().any(|(name, text)| {
            let tokens = tokens::tokens(text);
            name == file && tokens.iter().any(|t| t.text.starts_with(word))
        })
    };
    for (list, words) in [
        (
            ADVISORY_LOCKS,
            ["pg_advisory_", "pg_try_advisory_"].as_slice(),
        ),
        (LOCAL_FIGURES, &["rel", "pg_"]),
        (DO_BLOCKS, &["do"]),
        (DRAWING_MIGRATIONS, &["identity"]),
    ] {
        for declared in list {
            let used = words.iter().any(|word| has(declared.name, word));
            assert!(used, "{}: remove it from declared.rs", declared.name);
        }
    }
    let all = [
        REFERENCE_TABLES,
        DEFINING_TABLES,
        DRAWN_NUMBERS,
        DRAWING_MIGRATIONS,
        NARROW_IDS,
        ADVISORY_LOCKS,
        LOCAL_FIGURES,
        DO_BLOCKS,
    ];
    for declared in all.concat() {
        assert!(
            !declared.reason.is_empty(),
            "{} has no reason",
            declared.name
        );
    }
}

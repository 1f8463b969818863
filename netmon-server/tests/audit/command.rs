//! `netmon-server audit` by the real binary.

use std::process::Output;

use serde_json::Value;
use sqlx::PgPool;

use crate::{
    program::{netmon_server, text},
    site::Site,
};

async fn audit(pool: &PgPool, arguments: &[&str]) -> Output {
    netmon_server(pool, &[&["audit"], arguments].concat()).await
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

#[tokio::test]
async fn books_that_balance_end_with_0_and_those_that_do_not_with_1() {
    let mut site = Site::new().await;
    let host = site.delivered().await;
    let clean = audit(&site.pool, &["--format", "json"]).await;
    assert_eq!(clean.status.code(), Some(0), "{}", text(&clean.stderr));
    let report = json(&clean);
    assert_eq!(
        (&report["clean"], &report["violations"]),
        (&true.into(), &0.into())
    );
    assert_eq!(report["agents_checked"], 1);
    assert_eq!(report["checks"][0]["check"], "sequences");
    assert_eq!(report["checks"][0]["checked"], 6);
    assert_eq!(report["agents"], Value::Array(Vec::new()));
    let table = audit(
        &site.pool,
        &["--since", "7d", "--agent", &host.id.to_string()],
    )
    .await;
    assert_eq!(table.status.code(), Some(0));
    assert!(
        text(&table.stdout).contains("the books balance"),
        "{}",
        text(&table.stdout)
    );

    site.plant("DELETE FROM bandwidth_stats WHERE sequence = 2")
        .await;
    let wrong = audit(&site.pool, &["--format", "json", "--since", "12h"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    let report = json(&wrong);
    assert_eq!(report["clean"], false);
    let of_agent = &report["agents"][0];
    assert_eq!(of_agent["agent"], host.id.to_string());
    assert_eq!(of_agent["findings"][0]["cause"], "missing_rows");
    assert_eq!(of_agent["findings"][0]["first_sequence"], 2);
    let table = audit(&site.pool, &[]).await;
    assert_eq!(table.status.code(), Some(1));
    assert!(text(&table.stdout).contains("VIOLATION rows/missing_rows: batch 2 of bandwidth"));
}

#[tokio::test]
async fn an_audit_that_cannot_be_made_ends_with_2() {
    let site = Site::new().await;
    for arguments in [["--agent", "nobody"], ["--since", "soon"]] {
        let output = audit(&site.pool, &arguments).await;
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
        assert!(!output.stderr.is_empty());
    }
}

//! `netmon-server self-test` by the real binary.

use std::{process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    program::{command, netmon_server, text},
    site::Site,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn outcomes(report: &Value) -> Vec<(&str, &str)> {
    let checks = report["checks"].as_array().unwrap();
    checks
        .iter()
        .map(|check| {
            (
                check["name"].as_str().unwrap(),
                check["outcome"].as_str().unwrap(),
            )
        })
        .collect()
}

async fn self_test(site: &Site) -> (Option<i32>, Value) {
    let output = netmon_server(&site.pool, &["self-test", "--format", "json"]).await;
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (output.status.code(), report)
}

#[tokio::test]
async fn a_server_that_works_passes_and_nothing_is_left_behind() {
    let site = Site::new().await;
    let before = site.digest().await;
    let (status, report) = self_test(&site).await;
    assert_eq!(status, Some(0), "{report:#}");
    let all = [
        "database",
        "schema",
        "tables",
        "store",
        "aggregation",
        "statistics",
        "removal",
        "geo files",
        "geo settings",
    ];
    assert_eq!(outcomes(&report), all.map(|name| (name, "ok")));
    // A source of that name stays.
    site.plant("DELETE FROM botnet_sources").await;
    assert_eq!(site.digest().await, before);
    for table in ["botnet_uploads", "botnet_chunks"] {
        assert_eq!(
            site.number(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
    assert_eq!(site.number("SELECT count(*) FROM botnet_families").await, 6);
    let table = netmon_server(&site.pool, &["self-test"]).await;
    assert!(
        text(&table.stdout).ends_with("everything works\n"),
        "{}",
        text(&table.stdout)
    );
}

#[tokio::test]
async fn what_an_earlier_one_left_is_removed() {
    let site = Site::new().await;
    site.plant(
        "INSERT INTO botnet_families (name, created_at)
         VALUES ('self-test-0123456789abcdef', now() - interval '1 hour'),
                ('self-test-ffffffffffffffff', now() - interval '1 minute')",
    )
    .await;
    let (status, report) = self_test(&site).await;
    assert_eq!(status, Some(0), "{report:#}");
    let left: Vec<String> =
        sqlx::query_scalar("SELECT name FROM botnet_families WHERE name LIKE 'self-test-%'")
            .fetch_all(&site.pool)
            .await
            .unwrap();
    assert_eq!(left, ["self-test-ffffffffffffffff"], "which may still run");
}

#[tokio::test]
async fn one_that_is_interrupted_removes_what_it_made() {
    let site = Site::new().await;
    // It comes as far as the statistics.
    let mut holder = site.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE botnet_statistics IN EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let mut running = command(&site.pool, &["self-test", "--format", "json"]);
    let running = running
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(running.id()).unwrap());
    let begun = timeout(PATIENCE, async {
        while site.number("SELECT count(*) FROM botnet_deltas").await == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    });
    begun.await.expect("it stores its lines");
    kill(pid, Signal::SIGTERM).unwrap();
    sleep(Duration::from_millis(200)).await;
    holder.rollback().await.unwrap();
    let ended = spawn_blocking(move || running.wait_with_output().unwrap());
    let ended = timeout(PATIENCE, ended).await.expect("it ends").unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let found = outcomes(&report);
    assert!(found.contains(&("aggregation", "skipped")), "{report:#}");
    assert!(found.contains(&("removal", "ok")), "{report:#}");
    assert_eq!(site.number("SELECT count(*) FROM botnet_families").await, 6);
    assert_eq!(site.number("SELECT count(*) FROM botnet_nodes").await, 0);
}

#[tokio::test]
async fn what_does_not_work_is_named_with_a_remedy() {
    let site = Site::new().await;
    site.plant("ALTER TABLE botnet_days RENAME TO mislaid")
        .await;
    let (status, report) = self_test(&site).await;
    assert_eq!(status, Some(1));
    let found = outcomes(&report);
    assert!(found.contains(&("tables", "failed")) && found.contains(&("store", "skipped")));
    let tables = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["name"] == "tables");
    let tables = tables.unwrap();
    assert_eq!(tables["detail"], "botnet_days is missing");
    assert!(tables["remedy"].is_string());

    let site = Site::new().await;
    // A statistic that is wrong the moment it is written.
    site.plant(
        "CREATE FUNCTION bend() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN NEW.nodes[1] := NEW.nodes[1] + 1; RETURN NEW; END $$;
         CREATE TRIGGER bend BEFORE INSERT ON botnet_deltas FOR EACH ROW EXECUTE FUNCTION bend()",
    )
    .await;
    let (status, report) = self_test(&site).await;
    assert_eq!(status, Some(1));
    let found = outcomes(&report);
    assert!(found.contains(&("store", "failed")), "{report:#}");
    assert!(found.contains(&("removal", "ok")), "{report:#}");
}

#[tokio::test]
async fn a_database_that_does_not_answer_fails_and_the_rest_is_skipped() {
    let site = Site::new().await;
    let gone = [
        "self-test",
        "--format",
        "json",
        "--database-url",
        "postgres://u:secret@127.0.0.1:1/d",
    ];
    let output = netmon_server(&site.pool, &gone).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = outcomes(&report);
    assert_eq!(found[0], ("database", "failed"));
    assert!(found.contains(&("statistics", "skipped")) && found.contains(&("geo files", "ok")));
    assert!(!text(&output.stdout).contains("secret"));
}

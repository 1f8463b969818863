//! `netmon-server aggregate` by the real binary.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use time::OffsetDateTime;

use crate::{
    program::{command, netmon_server, text},
    site::{Site, seen},
};

const PATIENCE: Duration = Duration::from_secs(60);

async fn filled() -> Site {
    let site = Site::new().await;
    let at = OffsetDateTime::now_utc() - time::Duration::HOUR;
    for (name, nodes) in [("mozi", 100), ("andromeda", 7)] {
        let family = site.family(name).await;
        site.store(&family, (0..nodes).map(|n| seen(n, at)).collect())
            .await;
    }
    site
}

#[tokio::test]
async fn one_run_rebuilds_all_families_or_those_that_are_named() {
    let site = filled().await;
    let one = netmon_server(
        &site.pool,
        &[
            "aggregate",
            "once",
            "--family",
            "Gamarue",
            "--format",
            "json",
        ],
    )
    .await;
    assert_eq!(one.status.code(), Some(0), "{}", text(&one.stderr));
    let round: serde_json::Value = serde_json::from_slice(&one.stdout).unwrap();
    let families = round["families"].as_array().unwrap();
    assert_eq!(families.len(), 1);
    assert_eq!(families[0]["family"], "andromeda", "by its alias");
    assert_eq!(
        (&families[0]["nodes"], &families[0]["places"]),
        (&7.into(), &5.into())
    );
    let all = netmon_server(&site.pool, &["aggregate", "once"]).await;
    assert_eq!(all.status.code(), Some(0), "{}", text(&all.stderr));
    let said = text(&all.stdout);
    assert!(
        said.contains("2 rebuilt, 4 without nodes, 0 failed in"),
        "{said}"
    );
    let line = said.lines().find(|line| line.starts_with("mozi")).unwrap();
    let columns: Vec<_> = line.split_whitespace().collect();
    assert_eq!(columns[1..6], ["rebuilt", "100", "100", "5", "0"], "{said}");
}

#[tokio::test]
async fn a_run_with_a_failure_ends_with_1_and_one_that_cannot_be_made_with_2() {
    let site = filled().await;
    site.plant("ALTER TABLE botnet_active RENAME TO mislaid")
        .await;
    let failed = netmon_server(&site.pool, &["aggregate", "once", "--family", "mozi"]).await;
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed.stderr));
    assert!(
        text(&failed.stdout).contains("FAILED"),
        "{}",
        text(&failed.stdout)
    );
    let unknown = netmon_server(&site.pool, &["aggregate", "once", "--family", "nobody"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    let said = text(&unknown.stderr);
    assert!(
        said.contains("no family has the name or alias \"nobody\"") && said.contains("mozi"),
        "{said}"
    );
    let often = netmon_server(&site.pool, &["aggregate", "daemon", "--every", "1m"]).await;
    assert_eq!(often.status.code(), Some(2));
    assert!(
        text(&often.stderr).contains("between 5m and 1d"),
        "{}",
        text(&often.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_says_when_it_runs_next_and_ends_well_on_sigterm() {
    let site = filled().await;
    let mut daemon = command(&site.pool, &["aggregate", "daemon", "--every", "5m"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(daemon.stderr.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let lines = log.lines().map_while(Result::ok);
        lines.into_iter().all(|line| sender.send(line).is_ok())
    });
    let wait_for = |part: &str| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    };
    let ended = tokio::task::block_in_place(|| {
        wait_for("statistics rebuilt: 100 nodes → 5 rows");
        let end = wait_for("6 of 6 families succeeded");
        assert!(
            end.contains("rebuilt=2") && end.contains("empty=4"),
            "{end}"
        );
        assert!(
            end.contains("next_run=") && end.contains("seconds="),
            "{end}"
        );
        let pid = i32::try_from(daemon.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        wait_for("stopped");
        daemon.wait().unwrap()
    });
    assert_eq!(ended.code(), Some(0));
    let runs = "SELECT count(*) FROM botnet_aggregations WHERE trigger = 'daemon'";
    assert_eq!(site.number(runs).await, 2);
}

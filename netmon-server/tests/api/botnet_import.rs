//! The commands about logs and families, and a large upload, with the real program.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::{
    botnet_logs::{LOGS, gzip, lines},
    server::Server,
};

/// How much a server may grow while it receives a log of any size, KiB.
const MOST_GROWTH_KIB: u64 = 64 << 10;

fn command(pool: &PgPool, arguments: &[&str]) -> Command {
    let options = pool.connect_options();
    let socket = options
        .get_socket()
        .expect("a Unix socket")
        .display()
        .to_string();
    let url = format!(
        "postgres:///{}?host={}&port={}&user={}",
        options.get_database().unwrap_or_default(),
        socket.replace('/', "%2F"),
        options.get_port(),
        options.get_username(),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon-server"));
    command.args(arguments).env_clear();
    command.env("NETMON_SERVER__DATABASE__URL", url);
    command
}

async fn run(server: &Server, arguments: &[&str]) -> Output {
    let mut command = command(&server.database, arguments);
    spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// What a command prints that succeeds.
async fn done(server: &Server, arguments: &[&str]) -> String {
    let output = run(server, arguments).await;
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{errors}");
    out
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

async fn sightings(server: &Server) -> (i64, i64, i64) {
    let sums = "SELECT (SELECT coalesce(sum(communications), 0)::bigint FROM botnet_nodes),
                       (SELECT coalesce(sum(count), 0)::bigint FROM botnet_communications),
                       (SELECT coalesce(sum(communications), 0)::bigint FROM botnet_statistics)";
    sqlx::query_as(sums)
        .fetch_one(&server.database)
        .await
        .unwrap()
}

fn file(dir: &TempDir, name: &str, octets: &[u8]) -> String {
    let path = dir.path().join(name);
    fs::write(&path, octets).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_is_imported_once() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let log = lines(20_000);
    let plain = file(&dir, "plain.log", &log);
    let packed = file(&dir, "packed.log", &gzip(&log));
    let import = ["botnet", "import", "--family", "mozi"];
    let with = |more: &[&'static str], file: &str| {
        let arguments = import.iter().chain(more).map(|part| (*part).to_owned());
        arguments.chain([file.to_owned()]).collect::<Vec<_>>()
    };
    let imported = async |arguments: Vec<String>| {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        done(&server, &arguments).await
    };
    let out = imported(with(&[], &plain)).await;
    assert!(
        out.contains("20000 lines: 20000 accepted, 0 duplicate, 0 rejected"),
        "{out}"
    );
    assert_eq!(sightings(&server).await, (20_000, 20_000, 20_000));
    let out = imported(with(&[], &plain)).await;
    assert!(out.contains("20000 of them were stored before"), "{out}");
    assert_eq!(sightings(&server).await.0, 20_000);
    imported(with(&["--again"], &plain)).await;
    imported(with(&[], &packed)).await;
    assert_eq!(sightings(&server).await, (60_000, 60_000, 60_000));

    let mixed = file(&dir, "mixed.log", b"36.9.0.1\n10.0.0.1\nnobody\n");
    let out = imported(with(&["--output", "json"], &mixed)).await;
    let reports: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(reports[0]["rejected"], 2);
    assert_eq!(reports[0]["rejections"][0]["line"], 2);
    let out = imported(with(&["--verbose"], &mixed)).await;
    assert!(
        out.contains("line 2: an address for private networks"),
        "{out}"
    );

    let missing = dir.path().join("missing").to_str().unwrap().to_owned();
    let both = run(
        &server,
        &["botnet", "import", "--family", "mozi", &missing, &mixed],
    )
    .await;
    assert_eq!(both.status.code(), Some(1));
    assert!(text(&both.stderr).contains("cannot open it"));
    assert!(
        text(&both.stdout).contains("3 lines"),
        "the other file is stored"
    );
    let nobody = run(&server, &["botnet", "import", "--family", "nobody", &mixed]).await;
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("botnet families list"));
}

#[tokio::test]
async fn standard_input_is_imported() {
    let server = Server::start().await;
    let mut command = command(
        &server.database,
        &["botnet", "import", "--family", "mozi", "-"],
    );
    let output = spawn_blocking(move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&gzip(b"36.9.0.1\n36.9.0.2\n"))
            .unwrap();
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(text(&output.stdout).contains("2 accepted"), "{output:?}");
    assert_eq!(sightings(&server).await, (2, 2, 2));
}

#[tokio::test]
async fn stored_lines_are_read_once_more_and_add_only_what_was_rejected() {
    let server = Server::start().await;
    let log = lines(20_000);
    // Nobody said that times are of +08:00, and the format was stated wrongly.
    let wrong = format!("{LOGS}?format=ip");
    let report = server.report(&wrong, &[], log.clone()).await;
    assert_eq!(report["rejected"], 20_000);
    // Some lines of a log can be read, and a thousand and more cannot.
    let mixed: String = (0..3000)
        .map(|n| {
            format!(
                "36.9.{}.{}\n36.9.{}.{},mozi\n",
                n / 250,
                n % 250,
                n / 250,
                n % 250
            )
        })
        .collect();
    let report = server.report(&wrong, &[], mixed).await;
    assert_eq!(report["accepted"], 3000);
    assert_eq!(sightings(&server).await.1, 3000);

    // Of these half could be read, and it is not listed which half.
    let halves: String = (0..3000)
        .map(|n| format!("36.8.{0}.{1}\n36.7.{0}.{1},80\n", n / 250, n % 250))
        .collect();
    let report = server.report(&wrong, &[], halves).await;
    assert_eq!(
        (&report["accepted"], &report["rejected"]),
        (&Value::from(3000), &Value::from(3000))
    );

    let again = ["botnet", "reprocess", "--family", "mozi", "--format", "csv"];
    let dry = done(&server, &[&again[..], &["--dry-run"]].concat()).await;
    assert!(dry.contains("23000 would be accepted now"), "{dry}");
    assert_eq!(sightings(&server).await.1, 6000);
    let out = done(&server, &again).await;
    assert!(
        out.contains("23000 accepted now") && out.contains("3000 rejected still"),
        "{out}"
    );
    let all = sightings(&server).await;
    assert_eq!(all, (29_000, 29_000, 29_000));
    let twice = done(&server, &again).await;
    assert!(twice.contains(" 0 accepted now"), "{twice}");
    assert_eq!(sightings(&server).await, all);
    let kept = "SELECT count(*) FROM botnet_chunks WHERE accepted + duplicate + rejected > lines";
    let wrong: i64 = sqlx::query_scalar(kept)
        .fetch_one(&server.database)
        .await
        .unwrap();
    assert_eq!(wrong, 0);
    let days = [
        "botnet",
        "reprocess",
        "--family",
        "mozi",
        "--to",
        "2001-01-01",
    ];
    assert!(done(&server, &days).await.contains("0 lines in 0 chunks"));
}

#[tokio::test]
async fn families_are_managed_by_command() {
    let server = Server::start().await;
    let families = async |more: &[&str]| {
        let arguments = [&["botnet", "families"], more].concat();
        done(&server, &arguments).await
    };
    let list = families(&["list"]).await;
    for name in [
        "asruex",
        "mozi",
        "andromeda",
        "moobot",
        "ramnit",
        "leethozer",
        "gamarue",
    ] {
        assert!(list.contains(name), "{name} in {list}");
    }
    let added = families(&["add", "Mirai", "--alias", "katana", "--watch"]).await;
    assert!(added.contains("mirai") && added.contains("yes"), "{added}");
    families(&["alias", "katana", "--add", "okiru", "--remove", "katana"]).await;
    families(&["watch", "okiru", "off"]).await;
    let list: Value = serde_json::from_str(&families(&["list", "--format", "json"]).await).unwrap();
    let mirai = list
        .as_array()
        .unwrap()
        .iter()
        .find(|family| family["name"] == "mirai");
    let mirai = mirai.unwrap();
    assert_eq!(mirai["aliases"], serde_json::json!(["okiru"]));
    assert_eq!(mirai["watched"], false);
    server
        .report("/api/v1/botnets/mirai/logs", &[], "36.9.0.1")
        .await;
    let unsure = ["botnet", "families", "remove", "mirai", "--confirm", "mozi"];
    assert_eq!(run(&server, &unsure).await.status.code(), Some(1));
    families(&["remove", "mirai", "--confirm", "mirai"]).await;
    assert!(!families(&["list"]).await.contains("mirai"));
    assert_eq!(sightings(&server).await, (0, 0, 0));
    let taken = run(&server, &["botnet", "families", "add", "gamarue"]).await;
    assert!(text(&taken.stderr).contains("is a name or an alias already"));
}

/// A server process; ended when dropped.
struct Program {
    child: Child,
    http: String,
    _data: TempDir,
}

impl Program {
    fn start(pool: &PgPool) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = command(pool, &["serve"]);
        let child = command
            .arg("--data-dir")
            .arg(data.path())
            .env("NETMON_SERVER__HTTP__LISTEN", "127.0.0.1:0")
            .env("NETMON_SERVER__QUIC__LISTEN", "127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut program = Self {
            child,
            http: String::new(),
            _data: data,
        };
        let mut log = BufReader::new(program.child.stderr.take().unwrap()).lines();
        let mut wait = |part: &str| loop {
            let line = log.next().expect("the server runs").unwrap();
            if line.contains(part) {
                return line;
            }
        };
        let listens = wait("HTTP listens");
        program.http = listens.rsplit("address=").next().unwrap().to_owned();
        wait("QUIC listens");
        // Nobody looks, but nor must it wait.
        std::thread::spawn(move || log.for_each(drop));
        program
    }

    /// Peak of its memory so far, or what it takes now, KiB.
    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap()
    }

    fn post(&self, path: &str, headers: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n{headers}\r\n",
            self.http,
            body.len()
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("200 OK"), "{answer}");
        body.to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_million_lines_take_no_more_memory_than_a_few() {
    let server = Server::start().await;
    let pool = server.database.clone();
    let measured = spawn_blocking(move || {
        let program = Program::start(&pool);
        // What is made once for all: connections, geo files, threads.
        program.post(LOGS, "", &lines(40_000));
        let before = program.memory("VmRSS:");
        let log = gzip(&lines(1_000_000));
        let report = program.post(LOGS, "Content-Encoding: gzip\r\n", &log);
        (before, program.memory("VmHWM:"), report)
    });
    let (before, peak, report) = measured.await.unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["accepted"], 1_000_000);
    let growth = peak.saturating_sub(before);
    println!("{before} KiB before, {peak} KiB at most: {growth} KiB more");
    assert!(
        growth < MOST_GROWTH_KIB,
        "{before} KiB before, {peak} KiB at most"
    );
    let nodes: i64 = sqlx::query_scalar("SELECT count(*) FROM botnet_nodes")
        .fetch_one(&server.database)
        .await
        .unwrap();
    assert_eq!(nodes, 1_000_000);
}

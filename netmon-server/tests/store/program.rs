//! The real binary on the database of a test.

use std::process::{Command, Output};

use sqlx::PgPool;

/// Runs `netmon-server` with these arguments on the database that `pool` is connected to.
pub async fn netmon_server(pool: &PgPool, arguments: &[&str]) -> Output {
    let mut command = command(pool, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// The same, not started yet.
pub fn command(pool: &PgPool, arguments: &[&str]) -> Command {
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

/// What it has printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

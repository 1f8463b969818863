//! One POST at a time, on a connection of its own.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use netmon_lab::patient;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(40);

/// How the body is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Octets sent at once …
    pub piece: usize,
    /// … and the pause behind them.
    pub pause: Duration,
}

/// Sends a log; status and body of the answer.
///
/// # Errors
/// When no whole answer came: nobody knows then what was stored.
pub fn post(
    server: SocketAddr,
    path: &str,
    key: &str,
    body: &str,
    pace: Option<Pace>,
) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(patient(PATIENCE)))?;
    stream.set_write_timeout(Some(patient(PATIENCE)))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: text/plain\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    let piece = pace.map_or(body.len(), |pace| pace.piece).max(1);
    for piece in body.as_bytes().chunks(piece) {
        stream.write_all(piece)?;
        if let Some(pace) = pace {
            std::thread::sleep(pace.pause);
        }
    }
    answer(&mut stream)
}

/// Status of a GET.
///
/// # Errors
/// As [`post`].
pub fn get(server: SocketAddr, path: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    Ok(answer(&mut stream)?.0)
}

fn answer(stream: &mut TcpStream) -> Result<(u16, String)> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    // A server that is killed may have sent a part.
    let length = length.context("an answer without its length")?;
    ensure!(
        body.len() == length,
        "{} of {length} octets came",
        body.len()
    );
    Ok((status, body.to_owned()))
}

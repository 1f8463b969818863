//! One question over HTTP to a program on the loopback of a namespace.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{Namespace, patient};

const JSON: &str = "application/json";

/// Status and body of a GET on a loopback port inside the namespace.
///
/// # Errors
/// When nobody listens, or what answers is not HTTP.
pub fn get(place: &Namespace, port: u16, path: &str) -> Result<(u16, String)> {
    ask(place, port, &format!("GET {path}"), (JSON, ""))
}

/// The same of a POST of JSON.
///
/// # Errors
/// As [`get`].
pub fn post(place: &Namespace, port: u16, path: &str, json: &str) -> Result<(u16, String)> {
    ask(place, port, &format!("POST {path}"), (JSON, json))
}

/// The same of a PUT of text.
///
/// # Errors
/// As [`get`].
pub fn put(place: &Namespace, port: u16, path: &str, text: &str) -> Result<(u16, String)> {
    ask(place, port, &format!("PUT {path}"), ("text/plain", text))
}

fn ask(
    place: &Namespace,
    port: u16,
    line: &str,
    (content_type, body): (&str, &str),
) -> Result<(u16, String)> {
    place.run_inside(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(patient(Duration::from_secs(20))))?;
        // Version 1.0: the answer ends with the connection and is never chunked.
        write!(
            stream,
            "{line} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    })
}

/// The value of one series of a Prometheus page: name with its labels as they stand in the text.
///
/// # Errors
/// As [`get`], and when the page has no such series.
pub fn metric(place: &Namespace, port: u16, series: &str) -> Result<f64> {
    let (_, text) = get(place, port, "/metrics")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Ok(line
        .with_context(|| format!("no series {series}"))?
        .parse()?)
}

//! One request after the other on a connection that is kept.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to the REST interface.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// What came back, and how long it took from the first octet sent to the last one received.
pub struct Answer {
    pub body: Vec<u8>,
    pub took: Duration,
}

impl Connection {
    pub fn open(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask(
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            &[],
        )
        .with_context(|| path.to_owned())
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> Result<Answer> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.ask(&head, body).with_context(|| path.to_owned())
    }

    fn ask(&mut self, head: &str, body: &[u8]) -> Result<Answer> {
        let began = Instant::now();
        self.stream.get_mut().write_all(head.as_bytes())?;
        self.stream.get_mut().write_all(body)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("no HTTP answer")?.to_owned();
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.context("an answer without its length")?];
        self.stream.read_exact(&mut body)?;
        let took = began.elapsed();
        ensure!(
            status == "200",
            "the answer is {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(Answer { body, took })
    }
}

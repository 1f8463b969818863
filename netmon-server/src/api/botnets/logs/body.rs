//! A request's body for a thread that reads, which waits no longer than it should.

use std::{
    error::Error,
    fmt,
    io::{self, Read},
    time::Duration,
};

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt as _;
use tokio::{runtime::Handle, time::timeout};

/// Nothing came for too long.
#[derive(Debug)]
struct Idle;

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing came any more")
    }
}

impl Error for Idle {}

/// Whether that is why a body could not be read.
pub(super) fn is_idle(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Idle>())
}

/// The body's octets. To be called in a task, and read on a thread where one may block.
pub(super) fn blocking(body: Body, idle: Duration) -> impl Read + Send + 'static {
    Blocking {
        stream: body.into_data_stream(),
        piece: Bytes::new(),
        runtime: Handle::current(),
        idle,
    }
}

struct Blocking {
    stream: BodyDataStream,
    /// What came and is not read yet.
    piece: Bytes,
    runtime: Handle,
    idle: Duration,
}

impl Blocking {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match timeout(self.idle, self.stream.next()).await {
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, Idle)),
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            // Innermost, what the connection says.
            Ok(Some(Err(error))) => {
                let mut cause: &dyn Error = &error;
                while let Some(inner) = cause.source() {
                    cause = inner;
                }
                Err(io::Error::other(cause.to_string()))
            }
        }
    }
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let runtime = self.runtime.clone();
        while self.piece.is_empty() {
            match runtime.block_on(self.next())? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::task::spawn_blocking;

    use super::*;

    #[tokio::test]
    async fn pieces_are_read_in_their_order() {
        let pieces = ["one", "", " two", " three"];
        let pieces = pieces.map(|piece| Ok::<_, io::Error>(Bytes::from(piece)));
        let mut body = blocking(
            Body::from_stream(stream::iter(pieces)),
            Duration::from_secs(9),
        );
        let mut text = String::new();
        let text = spawn_blocking(move || body.read_to_string(&mut text).map(|_| text));
        assert_eq!(text.await.unwrap().unwrap(), "one two three");
    }

    #[tokio::test]
    async fn a_body_that_stops_is_given_up() {
        let piece = stream::iter([Ok::<_, io::Error>(Bytes::from("one"))]);
        let body = Body::from_stream(piece.chain(stream::pending()));
        let mut body = blocking(body, Duration::from_millis(10));
        let read = spawn_blocking(move || body.read_to_end(&mut Vec::new()));
        let error = read.await.unwrap().unwrap_err();
        assert!(is_idle(&error), "{error}");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error() {
        let broken = stream::iter([Err::<Bytes, _>(io::Error::other("gone"))]);
        let mut body = blocking(Body::from_stream(broken), Duration::from_secs(9));
        let read = spawn_blocking(move || body.read_to_end(&mut Vec::new()));
        let error = read.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "gone");
        assert!(!is_idle(&error));
    }
}

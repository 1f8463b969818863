//! Reads one message from a stream, within the memory there is for messages.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use netmon_common::wire::MAX_UPLINK_BYTES;
use quinn::{ReadError, RecvStream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{close, limits::Limits, transport::STREAM_WINDOW};

/// A message up to this size needs no place among the large ones.
const SMALL_BYTES: usize = STREAM_WINDOW as usize;

/// A message of bandwidth has about as many.
const USUAL_BYTES: usize = 1024;

/// The memory of a small message grows by so much: twice as much as it needs would be a lot for
/// thousands that wait.
const STEP_BYTES: usize = 4096;

/// What a byte adds to the server's patience: half a kilobyte a second is slow, not stalled.
const PER_BYTE: Duration = Duration::from_millis(2);

/// Places for messages, over all agents.
///
/// A message takes a small place with its first octet and a large one when it grows. Whoever waits
/// for a large place holds only a small one, and whoever holds a large one waits for nothing but its
/// own bytes and the database, so that waiting always ends.
#[derive(Debug)]
pub(super) struct Budget {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// The places one message takes until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    _small: OwnedSemaphorePermit,
    /// Of the agent and of all agents.
    large: Option<[OwnedSemaphorePermit; 2]>,
}

/// What came of a stream.
#[derive(Debug)]
pub(super) enum Received {
    /// All of it.
    Message(Vec<u8>, Held),
    /// More than a message may hold; the first part.
    Oversized(Vec<u8>, Held),
    /// The agent took it back.
    Reset,
    /// The bytes stopped coming.
    Stalled,
    /// The connection ended.
    Lost,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            small: Arc::new(Semaphore::new(limits.small_messages)),
            large: Arc::new(Semaphore::new(limits.large_messages)),
        }
    }

    /// Reads until the stream ends; `agents_large` are the large places this agent may have.
    pub(super) async fn read(
        &self,
        stream: &mut RecvStream,
        agents_large: &Arc<Semaphore>,
        patience: Duration,
    ) -> Received {
        let mut waited = Duration::ZERO;
        // The first octet comes before the place: a packet that was lost must not keep one for the
        // seconds until it comes again. The others stay with QUIC until there is a place.
        let first = match chunk(stream, 1, patience, &mut waited).await {
            Ok(first) => first,
            Err(ended) => return ended,
        };
        let mut held = Held {
            _small: permit(&self.small).await,
            large: None,
        };
        let Some(first) = first else {
            return Received::Message(Vec::new(), held);
        };
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        bytes.extend_from_slice(&first);
        loop {
            let allowed = patience + PER_BYTE * bytes.len() as u32;
            let chunk = match chunk(stream, SMALL_BYTES, allowed, &mut waited).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    // It may wait for its writer for long, and a thousand others with it.
                    bytes.shrink_to_fit();
                    return Received::Message(bytes, held);
                }
                Err(ended) => return ended,
            };
            let size = bytes.len() + chunk.len();
            if size > MAX_UPLINK_BYTES {
                // Already closed only when the connection is.
                let _ = stream.stop(close::OVERSIZED);
                return Received::Oversized(bytes, held);
            }
            if size > SMALL_BYTES && held.large.is_none() {
                held.large = Some([permit(agents_large).await, permit(&self.large).await]);
            }
            if size > bytes.capacity() && size <= SMALL_BYTES {
                bytes.reserve_exact(chunk.len().max(STEP_BYTES));
            }
            bytes.extend_from_slice(&chunk);
        }
    }
}

/// The next octets of the stream, at most so many; `None` at its end. Of `allowed`, `waited` is
/// spent already. Otherwise what came of the stream.
async fn chunk(
    stream: &mut RecvStream,
    most: usize,
    allowed: Duration,
    waited: &mut Duration,
) -> Result<Option<Bytes>, Received> {
    let started = Instant::now();
    let left = allowed.saturating_sub(*waited);
    let read = timeout(left, stream.read_chunk(most, true)).await;
    *waited += started.elapsed();
    match read {
        Ok(Ok(chunk)) => Ok(chunk.map(|chunk| chunk.bytes)),
        Ok(Err(ReadError::Reset(_))) => Err(Received::Reset),
        Ok(Err(_)) => Err(Received::Lost),
        Err(_) => Err(Received::Stalled),
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    // Nobody closes these semaphores.
    Arc::clone(semaphore)
        .acquire_owned()
        .await
        .expect("a semaphore that is never closed")
}

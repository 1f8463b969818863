//! What agents may ask of the server.

use std::time::Duration;

use super::writers::Flush;

/// Bounds on connections, memory and time.
///
/// Each writer holds the rows of one group besides: about ten times `flush.bytes`, or of one message.
///
/// Memory for messages is at most `small_messages` × 32 KiB plus `large_messages` × 2 MiB (a
/// buffer may have grown to twice its content), plus what the flow control lets connections hold
/// unread (2 MiB each if all of an agent's streams stand still).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Of these, handshakes that are not complete. Few, so that each is done long before its agent
    /// gives up: a thousand that share the processors would all come too late, and begin again for
    /// ever. From half of them on a peer has to prove its address first (Retry); beyond them its
    /// packets are dropped, and it repeats them.
    pub handshakes: usize,
    /// How long a handshake may take; an agent waits four seconds.
    pub handshake: Duration,
    /// Connections of one agent that have not said Hello.
    pub silent_per_agent: usize,
    /// How long the Hello may take after the handshake.
    pub hello: Duration,
    /// How long the server waits for a message's bytes in total, besides 2 ms for each byte that
    /// came.
    pub patience: Duration,
    /// Messages one agent may have under way. More than the 32 batches it sends without an answer:
    /// its live frames still come when all of them wait for the database. Fewer than the streams
    /// QUIC lets it open.
    pub streams: usize,
    /// Batches that may wait for one writer; then streams wait.
    pub queue: usize,
    /// When a writer's group of batches is complete.
    pub flush: Flush,
    /// Messages of at most 32 KiB held at once, over all agents.
    pub small_messages: usize,
    /// Larger messages held at once, over all agents.
    pub large_messages: usize,
    /// Of these, those of one agent.
    pub large_messages_per_agent: usize,
    /// First pause before a batch is offered to the database again.
    pub retry: Duration,
    /// Longest such pause.
    pub retry_max: Duration,
    /// How long batches under way may take at shutdown.
    pub drain: Duration,
    /// How long the last acknowledgements may take to arrive.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 64,
            handshake: Duration::from_secs(5),
            silent_per_agent: 4,
            hello: Duration::from_secs(10),
            patience: Duration::from_secs(60),
            streams: 48,
            queue: 4096,
            flush: Flush {
                interval: Duration::from_millis(10),
                rows: 4000,
                bytes: 2 << 20,
            },
            small_messages: 8192,
            large_messages: 128,
            large_messages_per_agent: 4,
            retry: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            linger: Duration::from_secs(2),
        }
    }
}

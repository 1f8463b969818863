//! One connection of a simulated agent: batches and live frames out, acknowledgements in.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use netmon_common::wire::{
    Downlink, Hello, MAX_CONTROL_BYTES, MAX_STREAM_BATCHES, SERVER_NAME, downlink,
};
use prost::{Message as _, encoding::decode_varint};
use quinn::{Connection, Endpoint, RecvStream, SendStream};

use crate::agent::Agent;

/// Octets on one stream, about, as the real agent's.
const STREAM_BYTES: usize = 16 << 10;

/// A connection on which the server has said welcome.
pub struct Session {
    connection: Connection,
    endpoint: Endpoint,
    /// Kept open: its end would end the session.
    control: SendStream,
    replies: Replies,
}

/// The server's half of the control stream.
struct Replies {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Session {
    /// Connects from a socket of its own, as an agent does, and says Hello.
    pub async fn open(agent: &Agent) -> Result<Self> {
        let endpoint = Endpoint::client(([0; 4], 0).into())?;
        let client = agent.identity.client.clone();
        let connection = endpoint
            .connect_with(client, agent.server, SERVER_NAME)?
            .await?;
        let (mut control, stream) = connection.open_bi().await?;
        let hello = Hello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: format!("simulated-{}", agent.index),
            alias: String::new(),
            kernel_release: "6.6".to_owned(),
            epoch: agent.source.epoch,
            streams: agent.outbox().states(agent.source.epoch),
            watch: None,
        };
        control
            .write_all(&hello.encode_length_delimited_to_vec())
            .await?;
        let mut replies = Replies {
            stream,
            buffer: BytesMut::new(),
        };
        let first = replies.next().await;
        let first = first.map_err(|error| match connection.close_reason() {
            Some(reason) => reason.into(),
            None => error,
        })?;
        ensure!(
            matches!(first.message, Some(downlink::Message::Welcome(_))),
            "the server did not say welcome"
        );
        Ok(Self {
            connection,
            endpoint,
            control,
            replies,
        })
    }

    /// Sends and takes acknowledgements until the connection ends; gives why.
    pub async fn serve(&mut self, agent: &Agent) -> quinn::ConnectionError {
        tokio::select! {
            closed = self.connection.closed() => closed,
            _ = send(&self.connection, agent) => self.connection.closed().await,
            _ = send_live(&self.connection, agent) => self.connection.closed().await,
            failed = take(&mut self.replies, agent) => {
                // A broken control stream without a broken connection is this program's fault.
                if self.connection.close_reason().is_none()
                    && let Err(error) = failed
                {
                    let reason = format!("{error:#}");
                    agent.tally.comings().failures.entry(reason).and_modify(|n| *n += 1).or_insert(1);
                    self.connection.close(0_u8.into(), b"");
                }
                self.connection.closed().await
            }
        }
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        let _ = self.control.finish();
        self.connection.close(0_u8.into(), b"agent stopped");
        let _ = tokio::time::timeout(Duration::from_millis(500), self.endpoint.wait_idle()).await;
    }
}

async fn send(connection: &Connection, agent: &Agent) -> Result<()> {
    loop {
        let changed = agent.changed.notified();
        tokio::pin!(changed);
        // Registered before looking, so that no change is missed in between.
        changed.as_mut().enable();
        while let Some(messages) = next_stream(agent) {
            write(connection, messages).await?;
        }
        changed.await;
    }
}

/// Batches of a kind that wait travel together, as the real agent's do.
fn next_stream(agent: &Agent) -> Option<Vec<Bytes>> {
    let mut outbox = agent.outbox();
    let (mut messages, mut octets) = (Vec::new(), 0);
    let mut kind = None;
    while octets < STREAM_BYTES
        && messages.len() < MAX_STREAM_BATCHES
        && let Some(((of, sequence), again)) = outbox.next(Instant::now(), kind)
    {
        kind = Some(of);
        agent.tally.again.fetch_add(again.into(), Relaxed);
        let states = outbox.reports((of, sequence), agent.source.epoch);
        let message = agent.source.message(of, sequence, states);
        octets += message.len();
        messages.push(message);
    }
    (!messages.is_empty()).then_some(messages)
}

async fn send_live(connection: &Connection, agent: &Agent) -> Result<()> {
    let Some(interval) = agent.live else {
        return std::future::pending().await;
    };
    tokio::time::sleep(interval.mul_f64(rand::random())).await;
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        write(connection, vec![agent.source.live().into()]).await?;
    }
}

async fn write(connection: &Connection, mut messages: Vec<Bytes>) -> Result<()> {
    let mut stream = connection.open_uni().await?;
    stream.write_all_chunks(&mut messages).await?;
    Ok(stream.finish()?)
}

async fn take(replies: &mut Replies, agent: &Agent) -> Result<()> {
    loop {
        match replies.next().await?.message {
            Some(downlink::Message::Acknowledgement(message)) => {
                let now = Instant::now();
                let settled = agent.outbox().acknowledged(&message);
                let tally = &agent.tally;
                for ((kind, _), _) in &settled {
                    let (rows, samples) = agent.source.content(*kind);
                    tally.rows.fetch_add(rows, Relaxed);
                    tally.samples.fetch_add(samples, Relaxed);
                }
                tally.batches.fetch_add(settled.len() as u64, Relaxed);
                tally.took(settled.iter().map(|(_, sent)| now - *sent));
            }
            Some(downlink::Message::Refusal(refusal)) => {
                agent.tally.refused.fetch_add(1, Relaxed);
                bail!("the server refused a batch: {}", refusal.reason);
            }
            Some(
                downlink::Message::Welcome(_)
                | downlink::Message::NtpMonitoring(_)
                | downlink::Message::WatchUpdate(_),
            )
            | None => continue,
        }
        agent.changed.notify_waiters();
    }
}

impl Replies {
    async fn next(&mut self) -> Result<Downlink> {
        loop {
            let mut rest = &self.buffer[..];
            if let Ok(length) = decode_varint(&mut rest)
                && rest.len() as u64 >= length
            {
                let whole = self.buffer.len() - rest.len() + length as usize;
                let message = Downlink::decode_length_delimited(&self.buffer[..whole])?;
                self.buffer.advance(whole);
                return Ok(message);
            }
            let chunk = self.stream.read_chunk(MAX_CONTROL_BYTES, true).await?;
            let chunk = chunk.context("the control stream ended")?;
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }
}

//! The time between the handshake and the Hello, in which a connection is nobody's yet.

use netmon_common::{
    watch::Digest,
    wire::{Hello, MAX_HELLO_STREAMS},
};
use quinn::{Connection, ConnectionError, SendStream, VarInt};
use tokio::time::timeout;

use super::{Shared, close, control::Reader};
use crate::{agent_id::AgentId, metrics::ConnectionRefusal};

/// Longest text an agent may say of itself, octets: the Hello is kept while it is connected.
const MAX_TEXT: usize = 1024;

/// The Hello, and both halves of the control stream it came on.
pub(super) type Greeting = (Hello, SendStream, Reader);

/// Waits for the Hello; without one the connection is closed and that is counted.
pub(super) async fn take(
    shared: &Shared,
    agent: AgentId,
    connection: &Connection,
) -> Option<Greeting> {
    let limits = &shared.ingest.limits;
    // Until its Hello a connection replaces no other: an agent could hold all there are.
    let Some(_silent) = shared.registry.admit(agent, limits.silent_per_agent) else {
        let reason = "the agent has too many connections without a Hello";
        let (cause, code) = (ConnectionRefusal::TooMany, close::HELLO_MISSING);
        refuse(shared, agent, connection, cause, code, reason);
        return None;
    };
    let (cause, code, problem) = match timeout(limits.hello, greet(connection)).await {
        Ok(Ok(greeting)) => return Some(greeting),
        Ok(Err(_)) if is_probe(connection) => {
            tracing::debug!(%agent, "closed by the agent before a Hello");
            return None;
        }
        Ok(Err(problem)) => (
            ConnectionRefusal::ControlMalformed,
            close::CONTROL_MALFORMED,
            format!("no proper Hello: {problem}"),
        ),
        Err(_) => (
            ConnectionRefusal::HelloMissing,
            close::HELLO_MISSING,
            "no Hello in time".to_owned(),
        ),
    };
    refuse(shared, agent, connection, cause, code, &problem);
    None
}

/// Takes the control stream and the Hello on it.
async fn greet(connection: &Connection) -> Result<(Hello, SendStream, Reader), String> {
    let (sender, receiver) = connection
        .accept_bi()
        .await
        .map_err(|error| error.to_string())?;
    let mut reader = Reader::new(receiver);
    let hello: Option<Hello> = reader.next().await.map_err(|error| error.to_string())?;
    let mut hello = hello.ok_or_else(|| "the control stream ended".to_owned())?;
    if hello.epoch == 0 || i64::try_from(hello.epoch).is_err() {
        return Err(format!("its epoch is {}", hello.epoch));
    }
    hello.streams.truncate(MAX_HELLO_STREAMS);
    if let Some(state) = &mut hello.watch {
        state.digest.truncate(Digest::LENGTH);
        state.digest.shrink_to_fit();
    }
    for text in [
        &mut hello.agent_version,
        &mut hello.hostname,
        &mut hello.alias,
        &mut hello.kernel_release,
    ] {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.shrink_to_fit();
    }
    Ok((hello, sender, reader))
}

/// Whether the agent ended the connection itself and found nothing wrong: its `doctor` looks only
/// whether both sides accept each other's certificate.
fn is_probe(connection: &Connection) -> bool {
    matches!(
        connection.close_reason(),
        Some(ConnectionError::ApplicationClosed(close)) if close.error_code == VarInt::from_u32(0)
    )
}

fn refuse(
    shared: &Shared,
    agent: AgentId,
    connection: &Connection,
    cause: ConnectionRefusal,
    code: VarInt,
    problem: &str,
) {
    shared.ingest.metrics.connection_refused(cause);
    if let Some(suppressed) = shared.handshake_log.allow() {
        let remote = connection.remote_address();
        tracing::warn!(%agent, %remote, problem, suppressed, "closing the connection");
    }
    connection.close(code, problem.as_bytes());
}

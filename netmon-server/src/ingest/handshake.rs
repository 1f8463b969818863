//! From a UDP packet to a peer that is known to be an agent.

use netmon_common::wire::ALPN;
use quinn::{Connection, ConnectionError, Incoming, crypto::rustls::HandshakeData};
use rustls_pki_types::CertificateDer;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{Shared, close};
use crate::{agent_id::AgentId, metrics::HandshakeFailure, pki};

/// A connection whose certificate the CA signed for this agent.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) agent: AgentId,
    pub(super) connection: Connection,
}

/// Completes the handshake; a failure is counted and logged with the peer's address.
pub(super) async fn accept(
    shared: &Shared,
    incoming: Incoming,
    _in_progress: OwnedSemaphorePermit,
) -> Option<Peer> {
    let remote = incoming.remote_address();
    match peer(shared, incoming).await {
        Ok(peer) => Some(peer),
        Err((cause, problem)) => {
            shared.ingest.metrics.handshake_failed(cause);
            if let Some(suppressed) = shared.handshake_log.allow() {
                tracing::warn!(%remote, ?cause, problem, suppressed, "handshake failed");
            }
            None
        }
    }
}

async fn peer(shared: &Shared, incoming: Incoming) -> Result<Peer, (HandshakeFailure, String)> {
    let failed = |error: ConnectionError| (cause(&error), error.to_string());
    let connecting = incoming.accept().map_err(failed)?;
    let connection = match timeout(shared.ingest.limits.handshake, connecting).await {
        Ok(connected) => connected.map_err(failed)?,
        Err(_) => return Err((HandshakeFailure::Timeout, "took too long".to_owned())),
    };
    if protocol(&connection).as_deref() != Some(ALPN) {
        connection.close(close::CONTROL_MALFORMED, b"this server speaks netmon/1");
        return Err((HandshakeFailure::Alpn, "not netmon/1".to_owned()));
    }
    match identity(&connection) {
        Ok(agent) => Ok(Peer { agent, connection }),
        Err(problem) => {
            connection.close(close::IDENTITY, b"the certificate names no agent");
            Err((HandshakeFailure::Identity, problem))
        }
    }
}

fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection
        .handshake_data()?
        .downcast::<HandshakeData>()
        .ok()?
        .protocol
}

fn identity(connection: &Connection) -> Result<AgentId, String> {
    let chain = connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<CertificateDer>>().ok());
    let chain = chain.unwrap_or_default();
    let leaf = chain
        .first()
        .ok_or_else(|| "the peer sent no certificate".to_owned())?;
    pki::agent_id_of(leaf).map_err(|error| error.to_string())
}

fn cause(error: &ConnectionError) -> HandshakeFailure {
    match error {
        ConnectionError::TransportError(error) => of_code(error.code.into()),
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset => HandshakeFailure::AbortedByPeer,
        ConnectionError::TimedOut => HandshakeFailure::Timeout,
        ConnectionError::VersionMismatch
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => HandshakeFailure::Protocol,
    }
}

/// QUIC carries TLS alerts as 0x100 plus the alert (RFC 9001, section 4.8).
fn of_code(code: u64) -> HandshakeFailure {
    match code.checked_sub(0x100) {
        // no_application_protocol
        Some(120) => HandshakeFailure::Alpn,
        // bad_certificate, unsupported_certificate, certificate_revoked, certificate_expired,
        // certificate_unknown; unknown_ca, access_denied; decrypt_error (its signature);
        // certificate_required
        Some(42..=46 | 48 | 49 | 51 | 116) => HandshakeFailure::Certificate,
        _ => HandshakeFailure::Protocol,
    }
}

//! One connection to one server, up to the exchange of Hello and Welcome.

use std::{io, time::Duration};

use netmon_common::wire::{Downlink, Hello, MAX_STREAM_BATCHES, downlink};
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};

use super::{
    Identity, IdentityError, Takes,
    control::{self, ControlError},
    dial::dial,
    identity::Loaded,
    transport,
};

/// A server that has not welcomed us by then is treated as absent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that does not mind our certificate within this time accepts it.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection on which the server has answered.
pub struct Session {
    /// The connection; dropping all its handles closes it.
    pub connection: Connection,
    /// Keeps the socket open.
    pub endpoint: Endpoint,
    /// Our side of the control stream: kept open, since its end ends the session.
    pub control_send: SendStream,
    /// Acknowledgements and refusals.
    pub control_receive: RecvStream,
    /// What the server calls itself.
    pub server_version: String,
    /// So many batches may travel on one stream.
    pub stream_batches: usize,
    /// What it stores besides.
    pub takes: Takes,
}

/// No session came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name does not resolve.
    #[error("cannot resolve {address}: {source}")]
    Resolve {
        /// `host:port`.
        address: String,
        /// The resolver's word.
        source: io::Error,
    },
    /// The resolver knows the name, but no address for it.
    #[error("{0} has no address")]
    NoAddress(String),
    /// Our own certificate or key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No UDP socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(io::Error),
    /// The address is not usable.
    #[error("cannot connect: {0}")]
    Connect(#[from] quinn::ConnectError),
    /// The handshake failed, or the server closed.
    #[error("{0}")]
    Connection(#[from] quinn::ConnectionError),
    /// The control stream failed.
    #[error("{0}")]
    Control(#[from] ControlError),
    /// The server's first message was another one.
    #[error("the server did not say welcome")]
    NotWelcome,
    /// Nothing came.
    #[error("no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
}

/// Connects and introduces the agent.
pub async fn connect(
    address: &str,
    identity: Loaded,
    hello: &Hello,
) -> Result<Session, ConnectError> {
    let attempt = tokio::time::timeout(CONNECT_TIMEOUT, try_connect(address, identity, hello));
    attempt.await.unwrap_or(Err(ConnectError::TimedOut))
}

async fn try_connect(
    address: &str,
    identity: Loaded,
    hello: &Hello,
) -> Result<Session, ConnectError> {
    let config = transport::client_config(identity.crypto);
    let (endpoint, connection) = dial(address, &config).await?;
    let (mut control_send, mut control_receive) = connection.open_bi().await?;
    control::write(&mut control_send, hello).await?;
    let first: Downlink = control::read(&mut control_receive).await.map_err(|error| {
        // "Closed by peer: …" says more than "stream ended".
        connection
            .close_reason()
            .map_or(ConnectError::Control(error), ConnectError::Connection)
    })?;
    let Some(downlink::Message::Welcome(welcome)) = first.message else {
        return Err(ConnectError::NotWelcome);
    };
    Ok(Session {
        connection,
        endpoint,
        control_send,
        control_receive,
        server_version: welcome.server_version,
        stream_batches: (welcome.max_stream_batches as usize).clamp(1, MAX_STREAM_BATCHES),
        takes: Takes {
            folds: welcome.ntp_folds,
            sightings: welcome.sightings,
        },
    })
}

/// Checks that both sides accept each other's certificate, without becoming the agent: an agent
/// that runs keeps its session.
pub async fn probe(address: &str, identity: &Identity) -> Result<(), ConnectError> {
    let attempt = async {
        let config = transport::client_config(identity.load()?.crypto);
        let (endpoint, connection) = dial(address, &config).await?;
        // In TLS 1.3 our side is done before the server has looked at our certificate.
        match tokio::time::timeout(VERDICT_TIMEOUT, connection.closed()).await {
            Ok(refused) => Err(refused.into()),
            Err(_) => {
                connection.close(VarInt::from_u32(0), b"only asking");
                endpoint.wait_idle().await;
                Ok(())
            }
        }
    };
    tokio::time::timeout(CONNECT_TIMEOUT, attempt)
        .await
        .unwrap_or(Err(ConnectError::TimedOut))
}

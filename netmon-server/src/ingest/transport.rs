//! QUIC's parameters: who may talk, and how much may lie unread.

use std::{net::UdpSocket, sync::Arc, time::Duration};

use netmon_common::wire::ALPN;
use nix::sys::socket::{setsockopt, sockopt};
use quinn::{
    ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{NoInitialCipherSuite, QuicServerConfig},
};

/// Agents speak every three seconds: this is for those that do not.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// An agent that has not been heard of for so long is gone.
const IDLE_MS: u32 = 12_000;

/// Streams an agent may have open and unread; QUIC makes it wait for more.
const STREAMS: u32 = 64;

/// Of a large fleet each agent has fewer, down to this. With what its connection needs besides, the
/// first packets of all of them then fit [`RECEIVE_BUFFER_BYTES`]; what does not is lost, and comes
/// again after a pause.
const FEWEST_STREAMS: u32 = 8;

/// Streams of all agents together, as long as each has [`FEWEST_STREAMS`].
const ALL_STREAMS: usize = 8192;

/// How many streams an agent may have open and unread while so many agents are connected.
pub(super) fn streams(agents: usize) -> u32 {
    let share = u32::try_from(ALL_STREAMS / agents.max(1)).unwrap_or(STREAMS);
    share.clamp(FEWEST_STREAMS, STREAMS)
}

/// Bytes of one stream that may lie unread.
pub(super) const STREAM_WINDOW: u32 = 32 << 10;

/// Bytes of one connection that may lie unread: all streams' windows together, so that streams
/// nobody reads yet can never keep one that is being read from its bytes.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// The server sends only acknowledgements.
const SEND_WINDOW: u64 = 256 << 10;

/// Handshakes not yet looked at, and what of them is kept meanwhile.
const MAX_INCOMING: usize = 1024;
const INCOMING_BYTES: u64 = 16 << 10;
const INCOMING_BYTES_TOTAL: u64 = 8 << 20;

/// What the kernel may hold for the one socket of all agents. When a thousand of them come in one
/// moment, their first packets alone take three megabytes as the kernel reckons; the default of
/// 208 KiB would lose most of them, and each waits a second before it asks again. The kernel gives
/// at most net.core.rmem_max, more than that only with CAP_NET_ADMIN.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// Gives the socket room for a fleet that comes at once.
pub(super) fn make_room(socket: &UdpSocket) {
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        // What the limit allows must do.
        let _ = setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES);
    }
}

pub(super) fn server_config(
    mut tls: rustls::ServerConfig,
) -> Result<ServerConfig, NoInitialCipherSuite> {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // Early data can be replayed, and a ticket would outlive the certificate it was given for.
    tls.max_early_data_size = 0;
    tls.send_tls13_tickets = 0;

    let mut transport = TransportConfig::default();
    transport
        // More once the agent has said Hello.
        .max_concurrent_uni_streams(FEWEST_STREAMS.into())
        .max_concurrent_bidi_streams(1_u8.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        // Acknowledgements fit any packet: nothing is gained by probing for larger ones.
        .mtu_discovery_config(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_MS).into()));

    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config
        .transport_config(Arc::new(transport))
        // Agents keep their connections when their addresses change.
        .migration(true)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_agents_there_are_the_fewer_streams_has_each() {
        let shares = [0, 1, 128, 256, 1000, 4096].map(streams);
        assert_eq!(shares, [64, 64, 64, 32, 8, 8]);
    }
}

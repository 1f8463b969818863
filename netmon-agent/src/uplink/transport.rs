//! QUIC's parameters on the agent's side: how soon a dead server is noticed, and how much memory a
//! connection may take.

use std::{sync::Arc, time::Duration};

use netmon_common::wire::{MAX_CONTROL_BYTES, MAX_UDP_PAYLOAD};
use quinn::{
    AckFrequencyConfig, ClientConfig, MtuDiscoveryConfig, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};

/// Something is sent at least this often, and answered by a server that lives.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// A server that has not answered for so long is dead. The time begins with what was sent first
/// after its last word: on an idle connection that is [`KEEP_ALIVE`] later, together 15 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(12);

/// The server sends acknowledgements on one stream: as much of them as one message may hold.
const RECEIVE_WINDOW: u32 = MAX_CONTROL_BYTES as u32;

/// Bytes of batches on their way. A server lets no more lie unread (64 streams of 32 KiB).
const SEND_WINDOW: u64 = 2 << 20;

/// Packets that the server may leave unacknowledged, for at most 25 ms (QUIC's extension,
/// draft-ietf-quic-ack-frequency): one for every second packet, as without it, is work for both sides
/// while a fleet catches up.
const UNACKNOWLEDGED: u32 = 8;

/// The client side of a connection with these certificates.
pub(super) fn client_config(crypto: QuicClientConfig) -> ClientConfig {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(UNACKNOWLEDGED.into());
    let mut path_mtu = MtuDiscoveryConfig::default();
    path_mtu.upper_bound(MAX_UDP_PAYLOAD);
    let mut transport = TransportConfig::default();
    transport
        .mtu_discovery_config(Some(path_mtu))
        .ack_frequency_config(Some(acknowledgements))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(
            IDLE_TIMEOUT.try_into().expect("12 s fits a QUIC varint"),
        ))
        // The server opens no streams towards an agent.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(RECEIVE_WINDOW.into())
        .receive_window(RECEIVE_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_server_is_noticed_within_fifteen_seconds_and_after_two_fresh_sockets() {
        assert!(KEEP_ALIVE + IDLE_TIMEOUT <= Duration::from_secs(15));
        assert!(IDLE_TIMEOUT >= 2 * super::super::path::SILENCE + KEEP_ALIVE);
    }
}

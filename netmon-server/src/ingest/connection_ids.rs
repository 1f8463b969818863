//! Connection ids that say nothing.
//!
//! The library's own ids are hashed with a key of the process, and it drops packets whose id does
//! not fit: after a restart that is every packet of every agent, and none would be told that its
//! connection is gone (RFC 9000 §10.3). Ids that cannot be checked get their stateless reset.

use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator};

/// Octets: enough that nobody guesses one, as few as fit into every packet.
const LENGTH: usize = 8;

/// Random ids, accepted without a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionIds;

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; LENGTH]>())
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

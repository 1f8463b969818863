//! Keeps a connection when the host's address changes or a NAT on the way forgets it.
//!
//! A QUIC connection does not hang on addresses: a fresh socket, from which the agent speaks at
//! once, makes the server follow (RFC 9000 section 9). There are two reasons to take one: the kernel
//! would send from another address than before, or nothing has been answered for some seconds. The
//! latter also leaves behind a NAT entry that leads nowhere, which the old port would keep alive.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use quinn::{Connection, Endpoint};
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::Metrics;

/// How often the path is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Without an answer for so long, a fresh socket is tried; and again after as long.
pub(super) const SILENCE: Duration = Duration::from_secs(4);

/// Why a connection moves to a fresh socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Packets to the server would now leave with another source address.
    AddressChanged,
    /// The server does not answer.
    Silence,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 2] = [Self::AddressChanged, Self::Silence];

    /// As in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddressChanged => "address_changed",
            Self::Silence => "silence",
        }
    }
}

/// What is seen of a path at one moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// From where the kernel would send; none without a route.
    source: Option<IpAddr>,
    /// Datagrams so far.
    sent: u64,
    received: u64,
}

/// The logic: looks in, causes out.
#[derive(Debug, Default)]
struct Path {
    source: Option<IpAddr>,
    received: u64,
    /// Datagrams sent when the last one was received.
    sent_before: u64,
    unanswered_since: Option<Instant>,
}

impl Path {
    fn look(&mut self, now: Instant, look: Look) -> Option<Cause> {
        if look.received != self.received {
            self.received = look.received;
            self.sent_before = look.sent;
            self.unanswered_since = None;
        } else if look.sent > self.sent_before {
            self.unanswered_since.get_or_insert(now);
        }
        // An address that is merely gone has no successor yet.
        let before = self.source;
        self.source = look.source.or(self.source);
        let cause = if before.is_some() && self.source != before {
            Some(Cause::AddressChanged)
        } else {
            let since = self.unanswered_since?;
            (now.duration_since(since) >= SILENCE).then_some(Cause::Silence)
        };
        if cause.is_some() {
            // The fresh socket has as long to be answered.
            self.unanswered_since = Some(now);
        }
        cause
    }
}

/// Looks after the path of a connection for as long as it is polled.
pub(super) async fn attend(
    connection: &Connection,
    endpoint: &Endpoint,
    metrics: &Metrics,
) -> Infallible {
    let mut path = Path::default();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let stats = connection.stats();
        metrics.path_mtu.set(stats.path.current_mtu.into());
        let look = Look {
            source: source_towards(connection.remote_address()).ok(),
            sent: stats.udp_tx.datagrams,
            received: stats.udp_rx.datagrams,
        };
        let Some(cause) = path.look(Instant::now(), look) else {
            continue;
        };
        match rebind(endpoint, connection.remote_address()) {
            Ok(()) => {
                tracing::info!(
                    cause = cause.name(),
                    source = ?look.source,
                    "the connection moves to a fresh socket"
                );
                metrics.rebound(cause);
            }
            Err(error) => tracing::warn!(%error, "no fresh socket for the connection"),
        }
    }
}

/// The address from which the kernel would send now. Connecting a UDP socket sends nothing.
fn source_towards(target: SocketAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(any(target))?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

/// The connection's next packet, which goes out at once, leaves from a new socket.
fn rebind(endpoint: &Endpoint, target: SocketAddr) -> io::Result<()> {
    endpoint.rebind(UdpSocket::bind(any(target))?)
}

/// Where a socket is bound to that shall reach `target`.
pub(super) fn any(target: SocketAddr) -> SocketAddr {
    if target.is_ipv4() {
        SocketAddr::from(([0; 4], 0))
    } else {
        SocketAddr::from(([0; 16], 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(source: u8, sent: u64, received: u64) -> Look {
        Look {
            source: (source > 0).then(|| IpAddr::from([192, 0, 2, source])),
            sent,
            received,
        }
    }

    /// The causes second by second.
    fn causes(looks: impl IntoIterator<Item = Look>) -> Vec<(usize, Cause)> {
        let (mut path, start) = (Path::default(), Instant::now());
        let looked = looks.into_iter().enumerate();
        looked
            .filter_map(|(second, look)| {
                let now = start + Duration::from_secs(second as u64);
                Some((second, path.look(now, look)?))
            })
            .collect()
    }

    #[test]
    fn an_answered_path_is_left_alone_and_so_is_one_on_which_nothing_is_said() {
        assert_eq!(causes((0..60).map(|n| look(1, n, n))), []);
        assert_eq!(causes((0..60).map(|_| look(1, 5, 5))), []);
    }

    #[test]
    fn silence_moves_the_connection_every_four_seconds() {
        let looks = (0..14).map(|n| look(1, n, 0));
        let seen = causes(looks);
        assert_eq!(
            seen,
            [
                (5, Cause::Silence),
                (9, Cause::Silence),
                (13, Cause::Silence)
            ]
        );
    }

    #[test]
    fn another_address_moves_the_connection_at_once_and_a_missing_one_does_not() {
        let looks = [1, 1, 0, 0, 1, 2, 2, 0, 1].map(|source| look(source, 9, 9));
        assert_eq!(
            causes(looks),
            [(5, Cause::AddressChanged), (8, Cause::AddressChanged)]
        );
    }
}

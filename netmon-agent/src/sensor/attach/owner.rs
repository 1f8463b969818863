//! Who is alive, by abstract Unix sockets (unix(7)): they belong to a network namespace as filters
//! do, whatever process and mount namespaces their users are in, and the kernel removes them with
//! the process that holds them, however it ends.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    thread,
    time::Duration,
};

/// How often, and after what pause, an agent asks for its turn before it goes on without.
const TURN_ATTEMPTS: u32 = 100;
const TURN_PAUSE: Duration = Duration::from_millis(2);

/// This run of the agent, as the names of its filters call it. It is alive until dropped.
#[derive(Debug)]
pub(in crate::sensor) struct Owner {
    number: u64,
    _socket: UnixDatagram,
}

impl Owner {
    pub(super) fn new() -> io::Result<Self> {
        let number = rand::random();
        Ok(Self {
            number,
            _socket: hold(&address_of(number))?,
        })
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether the owner of this number lives. What cannot be found out counts as a life.
    pub(super) fn is_alive(number: u64) -> bool {
        hold(&address_of(number)).is_err()
    }
}

fn address_of(number: u64) -> String {
    format!("netmon-agent-{number:016x}")
}

/// Agents side by side look at an interface's filters and change them one after the other. Else one
/// could remove the empty qdisc into which another is just putting its filters.
#[derive(Debug)]
pub(super) struct Turn {
    _socket: Option<UnixDatagram>,
}

impl Turn {
    /// Waits for a fifth of a second at most: who holds the name for longer is no agent.
    pub(super) fn take(ifindex: u32) -> Self {
        let name = format!("netmon-clsact-{ifindex}");
        for _ in 0..TURN_ATTEMPTS {
            match hold(&name) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => thread::sleep(TURN_PAUSE),
                other => {
                    return Self {
                        _socket: other.ok(),
                    };
                }
            }
        }
        tracing::warn!(ifindex, "somebody holds the socket @{name}");
        Self { _socket: None }
    }
}

fn hold(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    // Nobody shall fill it.
    socket.shutdown(std::net::Shutdown::Read)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_until_dropped() {
        let owner = Owner::new().unwrap();
        let number = owner.number();
        assert!(Owner::is_alive(number));
        assert!(Owner::is_alive(number), "asking changes nothing");
        drop(owner);
        assert!(!Owner::is_alive(number));
    }

    #[test]
    fn a_turn_ends_with_its_holder() {
        // An index that no interface of a test has.
        let first = Turn::take(u32::MAX);
        assert!(first._socket.is_some());
        assert_eq!(
            hold("netmon-clsact-4294967295").unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        assert!(Turn::take(u32::MAX)._socket.is_some());
    }
}

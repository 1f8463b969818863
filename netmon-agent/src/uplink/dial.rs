//! From `host:port` to a connection: the name is resolved anew, and its addresses race.

use std::{io, net::SocketAddr, time::Duration};

use netmon_common::wire::SERVER_NAME;
use quinn::{ClientConfig, Connection, Endpoint};
use tokio::{task::JoinSet, time::timeout};

use super::{ConnectError, path::any};

/// What one of several addresses gets.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(4);

/// The next address of a name starts this much later, unless the last one has failed by then
/// (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Of a name with more addresses than this the first ones are tried.
const MAX_TARGETS: usize = 16;

/// Connects to the first address of the name that answers.
pub(super) async fn dial(
    address: &str,
    config: &ClientConfig,
) -> Result<(Endpoint, Connection), ConnectError> {
    let mut last = ConnectError::NoAddress(address.to_owned());
    let mut targets = interleaved(resolve(address).await?).into_iter().peekable();
    let mut racing = JoinSet::new();
    loop {
        if let Some(target) = targets.next() {
            racing.spawn(timeout(
                HANDSHAKE_TIMEOUT,
                handshake(target, config.clone()),
            ));
        }
        tokio::select! {
            ended = racing.join_next() => match ended {
                // The others are given up with the set.
                Some(Ok(Ok(Ok(connected)))) => return Ok(connected),
                Some(Ok(Ok(Err(error)))) => last = error,
                Some(Ok(Err(_)) | Err(_)) => last = ConnectError::TimedOut,
                None => return Err(last),
            },
            () = tokio::time::sleep(STAGGER), if targets.peek().is_some() => {}
        }
    }
}

async fn handshake(
    target: SocketAddr,
    config: ClientConfig,
) -> Result<(Endpoint, Connection), ConnectError> {
    let endpoint = Endpoint::client(any(target)).map_err(ConnectError::Socket)?;
    let connection = endpoint.connect_with(config, target, SERVER_NAME)?.await?;
    Ok((endpoint, connection))
}

/// All addresses of a name: one of them may lead nowhere.
async fn resolve(address: &str) -> Result<Vec<SocketAddr>, ConnectError> {
    let found: io::Result<_> = tokio::net::lookup_host(address).await;
    found
        .map(Iterator::collect)
        .map_err(|source| ConnectError::Resolve {
            address: address.to_owned(),
            source,
        })
}

/// The families in turn, beginning with the one the resolver prefers (RFC 8305 section 4): a host
/// without a working IPv6 loses one step, not as many as the name has such addresses.
fn interleaved(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let prefers_ipv6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|target| target.is_ipv6() == prefers_ipv6);
    let mut second = second.into_iter();
    let mut targets = Vec::new();
    for target in first {
        targets.push(target);
        targets.extend(second.next());
    }
    targets.extend(second);
    targets.truncate(MAX_TARGETS);
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_resolvers_choice_comes_first() {
        let targets = |text: &[&str]| -> Vec<SocketAddr> {
            text.iter().map(|target| target.parse().unwrap()).collect()
        };
        for (found, tried) in [
            (vec![], vec![]),
            (
                vec!["[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1"],
                vec!["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1"],
            ),
            (
                vec!["192.0.2.1:1", "[2001:db8::1]:1", "[2001:db8::2]:1"],
                vec!["192.0.2.1:1", "[2001:db8::1]:1", "[2001:db8::2]:1"],
            ),
        ] {
            assert_eq!(interleaved(targets(&found)), targets(&tried));
        }
    }
}

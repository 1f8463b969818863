//! Whether the addresses are free, said before anything is started.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use anyhow::{Result, bail};

use super::Options;

/// # Errors
/// When an address is taken; the message names the option that chooses another.
pub fn ensure_free(options: &Options) -> Result<()> {
    let tcp = |address| TcpListener::bind(address).map(drop);
    let udp = |address| UdpSocket::bind(address).map(drop);
    check("--http", "TCP", options.http, tcp)?;
    check("--quic", "UDP", options.quic, udp)?;
    check("--agent-metrics", "TCP", options.agent_metrics, tcp)
}

fn check(
    option: &str,
    protocol: &str,
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<()>,
) -> Result<()> {
    match bind(address) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
            "{protocol} {address} is taken by another program: choose another by `{option} \
             ADDRESS:PORT`"
        ),
        Err(error) => bail!("cannot listen on {protocol} {address} ({option}): {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_is_named_with_the_option_for_another() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let bind = |address| TcpListener::bind(address).map(drop);
        let error = check("--http", "TCP", address, bind)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&address.to_string()) && error.contains("`--http"),
            "{error}"
        );
    }
}

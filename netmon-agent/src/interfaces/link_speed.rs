//! The speed of a link, from its driver.

use std::{io, os::fd::AsRawFd as _};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// The older of the two link settings commands: one call instead of a handshake, and the kernel
/// translates it for every driver.
const ETHTOOL_GSET: u32 = 1;
const SPEED_UNKNOWN: u32 = u32::MAX;

/// `struct ethtool_cmd` of linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct EthtoolCommand {
    command: u32,
    supported: u32,
    advertising: u32,
    speed_low: u16,
    duplex: u8,
    port: u8,
    phy_address: u8,
    transceiver: u8,
    autonegotiation: u8,
    mdio_support: u8,
    max_tx_packets: u32,
    max_rx_packets: u32,
    speed_high: u16,
    tp_mdix: u8,
    tp_mdix_control: u8,
    link_partner_advertising: u32,
    reserved: [u32; 2],
}

const _: () = assert!(size_of::<EthtoolCommand>() == 44);

nix::ioctl_write_ptr_bad!(ethtool, libc::SIOCETHTOOL, libc::ifreq);

/// Bits per second, or `None` when the driver does not say (no carrier, wireless, virtual).
///
/// By ioctl instead of sysfs: sysfs shows the network namespace of whoever mounted it.
pub fn link_speed_bps(interface: &str) -> Option<u64> {
    let mbps = query(interface).ok()?;
    (mbps != 0 && mbps != SPEED_UNKNOWN).then(|| u64::from(mbps) * 1_000_000)
}

fn query(interface: &str) -> io::Result<u32> {
    let any = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut command = EthtoolCommand {
        command: ETHTOOL_GSET,
        ..EthtoolCommand::default()
    };
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut command).cast();
    // SAFETY: the request names an ethtool_cmd that outlives the call, as ETHTOOL_GSET wants.
    unsafe { ethtool(any.as_raw_fd(), &raw const request) }?;
    Ok(u32::from(command.speed_high) << 16 | u32::from(command.speed_low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_does_not_exist_has_no_speed() {
        assert_eq!(link_speed_bps("nosuchlink"), None);
        assert_eq!(link_speed_bps("a-name-far-too-long-for-a-link"), None);
    }
}

//! A link without a header: frames start with IP.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::fd::AsRawFd as _,
    time::Duration,
};

use anyhow::{Context as _, Result};
use netmon_lab::{link::ip_line, wait_until};

use crate::site::{METRICS, Site};

const PATIENCE: Duration = Duration::from_secs(20);

nix::ioctl_write_ptr_bad!(tun_set_interface, libc::TUNSETIFF, libc::ifreq);

/// Opens the device from inside the namespace; whatever is written arrives at the host.
fn tun(site: &Site, name: &str) -> Result<File> {
    site.namespace.run_inside(|| {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")?;
        // SAFETY: all-zero is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: the request is valid for the whole call.
        unsafe { tun_set_interface(device.as_raw_fd(), &raw const request) }?;
        Ok(device)
    })
}

/// An NTP request from 198.18.9.2 to 198.18.9.1, without a link-layer header.
fn request() -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 76, 0, 1, 0, 0, 64, 17, 0, 0, 198, 18, 9, 2, 198, 18, 9, 1,
    ];
    packet.extend(40_000_u16.to_be_bytes());
    packet.extend(123_u16.to_be_bytes());
    packet.extend([0, 56, 0, 0]);
    packet.push(0x23);
    packet.resize(28 + 47, 0);
    packet.push(7);
    packet
}

#[test]
fn ntp_over_a_link_without_a_header_is_recognised() -> Result<()> {
    let site = Site::start(&[])?;
    let mut device = tun(&site, "nm-tun")?;
    ip_line(&site.namespace, &["link", "set", "nm-tun", "up"])?;
    wait_until(PATIENCE, "the interface to be watched", || {
        (site
            .metric(METRICS, "netmon_agent_interfaces_watched")
            .ok()?
            == 1.0)
            .then_some(())
    })?;
    for _ in 0..5 {
        device
            .write_all(&request())
            .context("cannot send through the device")?;
    }
    wait_until(PATIENCE, "the requests to be seen", || {
        (site
            .metric(METRICS, "netmon_agent_ntp_packets_total")
            .ok()?
            == 5.0)
            .then_some(())
    })?;
    let (_, metrics) = site.get(METRICS, "/metrics")?;
    let losses = metrics
        .lines()
        .filter(|line| line.starts_with("netmon_agent_losses_total"));
    assert!(losses.clone().count() > 0);
    assert!(
        losses.clone().all(|line| line.ends_with(" 0")),
        "{:?}",
        losses.collect::<Vec<_>>()
    );
    Ok(())
}

//! An NTP exchange that crosses a cable into a named network namespace is seen at both ends, and is
//! one exchange.

use anyhow::Result;

use crate::{
    namespaces::{interfaces_watched, named, visiting},
    ntp_bridge::{EXCHANGES, exchange, one_row_each},
};

#[test]
fn an_exchange_with_a_server_outside_is_one_row_at_the_outer_end() -> Result<()> {
    let mut site = visiting()?;
    let blue = named(&site, "blue", "198.18.0")?;
    site.start_agent(&["--interface-namespace", "blue"])?;
    interfaces_watched(&site, 2.0)?;
    exchange(&blue, &site.namespace.clone(), "198.18.0.1")?;
    one_row_each(site, "nm-blue", 2 * EXCHANGES)
}

#[test]
fn an_exchange_with_a_server_inside_is_one_row_at_the_inner_end() -> Result<()> {
    let mut site = visiting()?;
    let blue = named(&site, "blue", "198.18.0")?;
    site.start_agent(&["--interface-namespace", "blue"])?;
    interfaces_watched(&site, 2.0)?;
    exchange(&site.namespace.clone(), &blue, "198.18.0.2")?;
    one_row_each(site, "eth0@blue", 2 * EXCHANGES)
}

#[test]
fn an_exchange_between_two_namespaces_is_one_row_at_the_servers() -> Result<()> {
    let mut site = visiting()?;
    let blue = named(&site, "blue", "198.18.0")?;
    let red = named(&site, "red", "198.18.1")?;
    let arguments = [
        "--interface-namespace",
        "blue",
        "--interface-namespace",
        "red",
        "--exclude",
        "nm-*",
        "--exclude",
        "lo",
    ];
    for (place, gateway) in [(&blue, "198.18.0.1"), (&red, "198.18.1.1")] {
        let route = ["route", "add", "default", "via", gateway];
        netmon_lab::link::ip_line(place, &route)?;
    }
    site.namespace
        .run_inside(|| Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))?;
    site.start_agent(&arguments)?;
    interfaces_watched(&site, 2.0)?;
    exchange(&blue, &red, "198.18.1.2")?;
    one_row_each(site, "eth0@red", 2 * EXCHANGES)
}

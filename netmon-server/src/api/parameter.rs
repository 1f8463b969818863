//! Parameters that several lists share.

use std::net::IpAddr;

use sqlx::types::ipnetwork::IpNetwork;

use super::problem::Problem;

/// Parses the IP address in parameter `name`.
pub fn address(name: &'static str, text: Option<&str>) -> Result<Option<IpNetwork>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(Some(address.into())),
        Err(_) => Err(Problem::parameter(
            name,
            "it must be an IPv4 or IPv6 address",
        )),
    }
}

//! Where on the path the sensor is.

use std::{collections::HashSet, net::IpAddr};

use clap::ValueEnum;
use netmon_common::wire::NtpVantage;

use crate::ntp::Exchange;

/// What systems send: a packet that still has it has passed no router.
const INITIAL_TTL: [u8; 3] = [64, 128, 255];
/// Nearer than this to the server's clock there is no network in between.
const AT_THE_SERVER_NS: i64 = 100_000;

/// A place on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Vantage {
    /// At the client's end.
    Client,
    /// At the server's end.
    Server,
    /// In between.
    Transit,
}

/// What is known about the sensor's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nothing but what packets show.
    #[default]
    Unknown,
    /// Somebody says so.
    Told(Vantage),
    /// The host's own addresses.
    Own(HashSet<IpAddr>),
}

impl Vantage {
    /// The name in records and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Transit => "transit",
        }
    }
}

impl From<Vantage> for NtpVantage {
    fn from(vantage: Vantage) -> Self {
        match vantage {
            Vantage::Client => Self::Client,
            Vantage::Server => Self::Server,
            Vantage::Transit => Self::Transit,
        }
    }
}

impl Place {
    /// Where on the path of an exchange the sensor is; `floor_ns` is the least network delay that was
    /// ever seen between the two.
    pub(in crate::ntp) fn vantage(
        &self,
        exchange: &Exchange,
        floor_ns: Option<i64>,
    ) -> Option<Vantage> {
        let ends = (exchange.client.ip(), exchange.server.ip());
        self.of_addresses(ends.0, ends.1)
            .or_else(|| {
                let request = exchange.request.as_ref().map(|packet| packet.ttl);
                let response = exchange.response.as_ref().map(|packet| packet.ttl);
                hint(request, response, floor_ns)
            })
            .or(self.otherwise())
    }

    /// The same from addresses alone.
    pub(in crate::ntp) fn of_ends(&self, client: IpAddr, server: IpAddr) -> Option<Vantage> {
        self.of_addresses(client, server).or(self.otherwise())
    }

    /// Who has addresses of its own, and is neither, is in between.
    fn otherwise(&self) -> Option<Vantage> {
        match self {
            Self::Own(_) => Some(Vantage::Transit),
            Self::Told(_) | Self::Unknown => None,
        }
    }

    fn of_addresses(&self, client: IpAddr, server: IpAddr) -> Option<Vantage> {
        match self {
            Self::Told(vantage) => Some(*vantage),
            Self::Own(own) if own.contains(&client) => Some(Vantage::Client),
            Self::Own(own) if own.contains(&server) => Some(Vantage::Server),
            Self::Own(_) | Self::Unknown => None,
        }
    }

    /// Whether the sensor's clock is that of the host with this address, at this end.
    pub(super) fn is_clock_of(&self, address: IpAddr, end: Vantage) -> bool {
        match self {
            Self::Told(vantage) => *vantage == end,
            Self::Own(own) => own.contains(&address),
            Self::Unknown => false,
        }
    }
}

/// By times to live: whose packets have passed no router is near.
fn hint(request: Option<u8>, response: Option<u8>, floor_ns: Option<i64>) -> Option<Vantage> {
    let is_fresh = |ttl| INITIAL_TTL.contains(&ttl);
    match (is_fresh(request?), is_fresh(response?)) {
        (true, false) => Some(Vantage::Client),
        (false, true) => Some(Vantage::Server),
        (true, true) if floor_ns.is_some_and(|floor_ns| floor_ns < AT_THE_SERVER_NS) => {
            Some(Vantage::Server)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntp::{
        Match,
        packet::example::{client, request, response, server},
    };

    fn exchange(request_ttl: u8, response_ttl: u8) -> Exchange {
        let (mut request, mut response) = (request(0, 1, 7), response(1, 1, 7));
        (request.ttl, response.ttl) = (request_ttl, response_ttl);
        Exchange::of_pair(Match::Basic, request, response)
    }

    #[test]
    fn the_hosts_own_addresses_decide() {
        let own = |address: IpAddr| Place::Own(HashSet::from([address]));
        let exchange = exchange(64, 64);
        let vantage = |place: Place| place.vantage(&exchange, None);
        assert_eq!(vantage(own(client(1).ip())), Some(Vantage::Client));
        assert_eq!(vantage(own(server().ip())), Some(Vantage::Server));
        assert_eq!(vantage(Place::Own(HashSet::new())), Some(Vantage::Transit));
        assert_eq!(vantage(Place::Told(Vantage::Client)), Some(Vantage::Client));
        assert_eq!(vantage(Place::Unknown), None);
    }

    #[test]
    fn without_them_routers_leave_their_mark() {
        let vantage = |request_ttl, response_ttl, floor_ns| {
            Place::Unknown.vantage(&exchange(request_ttl, response_ttl), floor_ns)
        };
        assert_eq!(vantage(64, 57, None), Some(Vantage::Client));
        assert_eq!(vantage(120, 255, None), Some(Vantage::Server));
        assert_eq!(vantage(60, 57, None), None);
        assert_eq!(vantage(64, 64, Some(17_000)), Some(Vantage::Server));
        assert_eq!(vantage(64, 64, Some(10_000_000)), None);
    }
}

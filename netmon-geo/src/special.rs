//! Addresses that are nowhere, and regions that are somewhere twice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{place::Place, source::SpecialRegions};

/// Whether an address belongs to no place: private, link-local, shared, documentation, multicast
/// or reserved (the registries of RFC 6890; of IPv6 all but 2000::/3).
pub(crate) fn is_nowhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => nowhere_v4(address),
        IpAddr::V6(address) => nowhere_v6(address),
    }
}

fn nowhere_v4(address: Ipv4Addr) -> bool {
    matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn nowhere_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    first >> 13 != 1 || (first == 0x2001 && second == 0xdb8) || (first == 0x3fff && second < 0x1000)
}

/// Regions of China with country codes of their own, by both codes.
const REGIONS: [(&str, &str); 3] = [("HK", "CN-HK"), ("MO", "CN-MO"), ("TW", "CN-TW")];

impl SpecialRegions {
    /// A place of [`separate`] codes as this setting wants it.
    pub(crate) fn put(self, place: Place) -> Place {
        if self == Self::Separate {
            return place;
        }
        let region = REGIONS
            .iter()
            .find(|(country, _)| *country == place.country());
        region.map_or(place, |(_, province)| {
            Place::new("CN", province, place.city()).unwrap_or(place)
        })
    }
}

/// A place with the country code of a special region where a source has it as a province of China.
pub(crate) fn separate(place: Place) -> Place {
    let region = REGIONS
        .iter()
        .find(|(_, province)| *province == place.province());
    region.map_or(place, |(country, _)| {
        Place::new(country, "", place.city()).unwrap_or(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_routes_is_nowhere() {
        for address in [
            "0.0.0.1",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "64:ff9b::1",
        ] {
            assert!(is_nowhere(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2001:db9::1",
            "2400:3200::1",
            "3fff:1000::1",
        ] {
            assert!(!is_nowhere(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn special_regions_go_both_ways() {
        for (country, province) in REGIONS {
            let own = Place::new(country, "", "").unwrap();
            let chinese = Place::new("CN", province, "").unwrap();
            assert_eq!(SpecialRegions::Separate.put(own), own);
            assert_eq!(SpecialRegions::Cn.put(own), chinese);
            assert_eq!(separate(chinese), own);
        }
        let nanjing = Place::new("CN", "CN-JS", "320100").unwrap();
        assert_eq!(SpecialRegions::Cn.put(nanjing), nanjing);
        assert_eq!(separate(nanjing), nanjing);
    }
}

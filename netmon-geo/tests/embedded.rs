//! The embedded files: well-known addresses, and how much of China they know.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use netmon_geo::{Atlas, Place, names, range_file::RangeFile};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

fn file(name: &str) -> RangeFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data")
        .join(name);
    RangeFile::from_bytes(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn well_known_addresses_are_where_they_are() {
    let atlas = Atlas::embedded();
    for (address, place) in [
        ("114.114.114.114", "CN CN-JS 320100"),
        ("223.5.5.5", "CN CN-ZJ 330100"),
        ("202.96.209.5", "CN CN-SH 310100"),
        ("61.135.169.121", "CN CN-BJ 110100"),
        ("183.60.83.19", "CN CN-GD 440100"),
        ("52.166.36.133", "NL"),
        ("2400:3200::1", "CN"),
        ("::ffff:114.114.114.114", "CN CN-JS 320100"),
        ("193.62.157.66", "GB"),
        ("140.112.8.116", "TW"),
        ("10.0.0.1", "unknown"),
        ("192.168.1.1", "unknown"),
        ("239.255.255.250", "unknown"),
        ("fe80::1", "unknown"),
        ("2001:db8::1", "unknown"),
    ] {
        let located = atlas.locate(address.parse().unwrap());
        assert_eq!(located.to_string(), place, "{address}");
    }
    let nanjing = atlas.locate("114.114.114.114".parse().unwrap());
    assert_eq!(names::province(nanjing.province()).unwrap().en, "Jiangsu");
    assert_eq!(names::city(nanjing.city()).unwrap().zh, "南京");
}

#[test]
fn of_chinese_addresses_94_in_100_have_a_province() {
    const DRAWN: usize = 100_000;
    let starts: Vec<_> = file("country.bin").v4().collect();
    let ranges = starts.windows(2).filter(|pair| pair[0].1.country() == "CN");
    let ranges: Vec<(u32, u32)> = ranges
        .map(|pair| (pair[0].0, pair[1].0 - pair[0].0))
        .collect();
    let sum: u32 = ranges.iter().map(|(_, length)| length).sum();
    let mut drawn: Vec<u32> = (0..DRAWN)
        .scan(StdRng::seed_from_u64(6), |random, _| {
            Some(random.random_range(0..sum))
        })
        .collect();
    drawn.sort_unstable();

    let atlas = Atlas::embedded();
    let (mut provinces, mut cities, mut before, mut range) = (0, 0, 0, 0);
    for nth in drawn {
        while nth - before >= ranges[range].1 {
            before += ranges[range].1;
            range += 1;
        }
        let address = Ipv4Addr::from(ranges[range].0 + (nth - before));
        let place = atlas.locate(IpAddr::V4(address));
        assert_eq!(place.country(), "CN", "{address}");
        provinces += usize::from(!place.province().is_empty());
        cities += usize::from(!place.city().is_empty());
    }
    println!("{provinces} provinces and {cities} cities of {DRAWN}");
    assert!(provinces * 100 >= DRAWN * 94, "{provinces} of {DRAWN}");
    assert!(cities * 100 >= DRAWN * 91, "{cities} of {DRAWN}");
}

#[test]
fn every_code_of_the_files_has_names() {
    let mut places: Vec<Place> = Vec::new();
    for file in [file("country.bin"), file("china.bin")] {
        places.extend(file.v4().map(|(_, place)| place));
        places.extend(file.v6().map(|(_, place)| place));
    }
    places.sort_unstable();
    places.dedup();
    for place in places {
        let known = |code: &str, named: bool| code.is_empty() || named;
        let (country, province, city) = (place.country(), place.province(), place.city());
        assert!(known(country, names::country(country).is_some()), "{place}");
        assert!(
            known(province, names::province(province).is_some()),
            "{place}"
        );
        assert!(known(city, names::city(city).is_some()), "{place}");
        if !city.is_empty() {
            assert_eq!(names::province_of_city(city), Some(province), "{place}");
        }
    }
}

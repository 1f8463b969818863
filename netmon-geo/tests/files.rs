//! Files that are brought along: mmdb and xdb, made by writers of a page each.

mod files {
    pub mod mmdb_writer;
    pub mod xdb_writer;
}

use std::{fs, path::PathBuf};

use files::{
    mmdb_writer::{self, Value, map, text},
    xdb_writer,
};
use netmon_geo::{Atlas, Settings, Source, SpecialRegions};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

/// A directory of files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: &[u8]) -> Source {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        Source::File(path)
    }
}

fn open(sources: &[Source]) -> Result<Atlas, String> {
    let settings = Settings {
        sources: sources.to_vec(),
        ..Settings::default()
    };
    Atlas::open(&settings).map_err(|error| error.to_string())
}

fn expect(atlas: &Atlas, places: &[(&str, &str)]) {
    for (address, place) in places {
        let located = atlas.locate(address.parse().unwrap());
        assert_eq!(located.to_string(), *place, "{address}");
    }
}

fn names(en: &str, zh: &str) -> Value {
    map(&[("en", text(en)), ("zh-CN", text(zh))])
}

fn division(code: &str, en: &str, zh: &str) -> Value {
    map(&[("iso_code", text(code)), ("names", names(en, zh))])
}

fn record(country: &str, divisions: Vec<Value>, city: Option<(u32, &str, &str)>) -> Value {
    let mut fields = vec![
        ("country", map(&[("iso_code", text(country))])),
        ("location", map(&[("time_zone", text("Etc/UTC"))])),
    ];
    if !divisions.is_empty() {
        fields.push(("subdivisions", Value::Array(divisions)));
    }
    if let Some((number, en, zh)) = city {
        let city = map(&[
            ("geoname_id", Value::Number(number)),
            ("names", names(en, zh)),
        ]);
        fields.push(("city", city));
    }
    map(&fields)
}

/// As GeoLite2-City is laid out.
fn geolite() -> Vec<u8> {
    let networks = [
        (
            "81.2.69.0/24",
            record(
                "GB",
                vec![
                    division("ENG", "England", "英格兰"),
                    division("WBK", "West Berkshire", ""),
                ],
                Some((2_655_045, "Boxford", "")),
            ),
        ),
        (
            "1.2.3.0/24",
            record(
                "CN",
                vec![division("JS", "Jiangsu", "江苏")],
                Some((1_799_962, "Nanjing", "南京")),
            ),
        ),
        (
            "1.2.4.0/24",
            record(
                "CN",
                vec![division("65", "Xinjiang", "新疆维吾尔自治区")],
                Some((1_529_102, "Urumqi", "乌鲁木齐")),
            ),
        ),
        (
            "1.2.5.0/25",
            record(
                "CN",
                vec![division("SH", "Shanghai", "上海")],
                Some((1_000, "Pudong", "浦东新区")),
            ),
        ),
        (
            "1.2.6.0/24",
            record("HK", vec![], Some((1_819_729, "Hong Kong", "香港"))),
        ),
        (
            "1.2.7.0/24",
            record("CN", vec![division("HK", "Hong Kong", "香港")], None),
        ),
        ("1.2.8.0/24", record("UK", vec![], None)),
        (
            "1.2.9.0/24",
            map(&[("continent", map(&[("code", text("EU"))]))]),
        ),
        (
            "2a02:d280::/29",
            record(
                "CZ",
                vec![division("10", "Prague", "布拉格")],
                Some((3_067_696, "Prague", "")),
            ),
        ),
    ];
    mmdb_writer::write(&networks, "GeoLite2-City", 1_780_000_000)
}

#[test]
fn an_mmdb_of_cities_gives_iso_codes_and_gb_t_2260_in_china() {
    let files = Files::new();
    let atlas = open(&[files.put("GeoLite2-City.mmdb", &geolite())]).unwrap();
    expect(
        &atlas,
        &[
            ("81.2.69.142", "GB GB-ENG G2655045"),
            ("1.2.3.4", "CN CN-JS 320100"),
            ("1.2.4.4", "CN CN-XJ 650100"),
            ("1.2.5.4", "CN CN-SH"),
            ("1.2.5.200", "unknown"),
            ("1.2.6.4", "HK G1819729"),
            ("1.2.7.4", "HK"),
            ("1.2.8.4", "GB"),
            ("1.2.9.4", "unknown"),
            ("2a02:d281::1", "CZ CZ-10 G3067696"),
            ("2a03::1", "unknown"),
            ("::ffff:1.2.3.4", "CN CN-JS 320100"),
        ],
    );
    let description = &atlas.edition().description;
    assert!(
        description.starts_with("GeoLite2-City.mmdb (GeoLite2-City of 2026-05-28)"),
        "{description}"
    );
}

#[test]
fn an_mmdb_may_have_its_country_as_text() {
    let networks = [
        (
            "81.2.69.0/24",
            map(&[
                ("country_code", text("GB")),
                ("country", text("United Kingdom")),
            ]),
        ),
        ("1.2.3.0/24", map(&[("country", text("CN"))])),
        ("1.2.4.0/24", map(&[("country_code", text("NL"))])),
    ];
    let files = Files::new();
    let file = files.put("ipinfo.mmdb", &mmdb_writer::write(&networks, "ipinfo", 0));
    expect(
        &open(&[file]).unwrap(),
        &[("81.2.69.1", "GB"), ("1.2.3.4", "CN"), ("1.2.4.4", "NL")],
    );
}

/// Regions for IPv4 and IPv6, in both layouts.
fn xdb_v4(version: u16) -> Vec<u8> {
    xdb_writer::write_v4(
        version,
        &[
            ("0.0.0.0", "0.255.255.255", "0|0|0|内网IP|内网IP"),
            ("1.2.3.0", "1.2.3.255", "中国|0|浙江省|杭州市|电信"),
            ("1.2.4.0", "1.2.255.255", "中国|0|西藏|拉萨市|0"),
            ("1.3.0.0", "1.3.255.255", "中国|0|台湾省|台北|0"),
            ("81.2.0.0", "81.2.255.255", "英国|0|0|0|0"),
            ("255.255.255.255", "255.255.255.255", "荷兰|0|0|0|0"),
        ],
    )
}

fn xdb_v6() -> Vec<u8> {
    xdb_writer::write_v6(&[
        (
            "2400:3200::",
            "2400:3200:ffff:ffff:ffff:ffff:ffff:ffff",
            "中国|浙江省|杭州市|阿里云|CN",
        ),
        (
            "2a02:d280::",
            "2a02:d287:ffff:ffff:ffff:ffff:ffff:ffff",
            "Czechia|Prague|Prague|x|CZ",
        ),
    ])
}

#[test]
fn an_xdb_of_structure_2_or_3_gives_places_for_its_kind_of_address() {
    let files = Files::new();
    for version in [2, 3] {
        let atlas = open(&[files.put("china.xdb", &xdb_v4(version))]).unwrap();
        expect(
            &atlas,
            &[
                ("0.1.2.3", "unknown"),
                ("1.2.2.255", "unknown"),
                ("1.2.3.0", "CN CN-ZJ 330100"),
                ("1.2.3.255", "CN CN-ZJ 330100"),
                ("1.2.4.0", "CN CN-XZ 540100"),
                ("1.3.0.1", "TW"),
                ("1.4.0.0", "unknown"),
                ("81.2.69.142", "GB"),
                ("82.0.0.0", "unknown"),
                ("2400:3200::1", "unknown"),
            ],
        );
    }
    let atlas = open(&[files.put("china6.xdb", &xdb_v6())]).unwrap();
    expect(
        &atlas,
        &[
            ("2400:3200::1", "CN CN-ZJ 330100"),
            ("2400:3201::1", "unknown"),
            ("2a02:d280::1", "CZ"),
            ("1.2.3.4", "unknown"),
        ],
    );
}

#[test]
fn the_first_source_that_knows_decides_and_the_next_complete_what_agrees() {
    let files = Files::new();
    let mmdb = files.put("city.mmdb", &geolite());
    let (xdb, xdb6) = (
        files.put("4.xdb", &xdb_v4(3)),
        files.put("6.xdb", &xdb_v6()),
    );
    let all = |sources: &[&Source]| open(&sources.iter().map(|s| (*s).clone()).collect::<Vec<_>>());
    let atlas = all(&[&xdb, &xdb6, &mmdb, &Source::Embedded]).unwrap();
    expect(
        &atlas,
        &[
            ("1.2.3.4", "CN CN-ZJ 330100"), // the xdb, not the mmdb's Nanjing
            ("81.2.69.142", "GB GB-ENG G2655045"), // the country by the xdb, the rest by the mmdb
            ("2400:3200::1", "CN CN-ZJ 330100"),
            ("114.114.114.114", "CN CN-JS 320100"), // embedded
        ],
    );
    let atlas = all(&[&Source::Embedded, &xdb6]).unwrap();
    expect(&atlas, &[("2400:3200::1", "CN CN-ZJ 330100")]);
}

#[test]
fn special_regions_are_put_as_the_setting_says() {
    let files = Files::new();
    let settings = Settings {
        sources: vec![files.put("city.mmdb", &geolite()), Source::Embedded],
        special_regions: SpecialRegions::Cn,
    };
    let atlas = Atlas::open(&settings).unwrap();
    expect(
        &atlas,
        &[
            ("1.2.6.4", "CN CN-HK G1819729"),
            ("1.2.7.4", "CN CN-HK"),
            ("140.112.8.116", "CN CN-TW"),
            ("114.114.114.114", "CN CN-JS 320100"),
        ],
    );
}

#[test]
fn another_edition_is_another_file_another_order_or_another_setting() {
    let files = Files::new();
    let mmdb = files.put("city.mmdb", &geolite());
    let (xdb, same) = (
        files.put("4.xdb", &xdb_v4(3)),
        files.put("copy.xdb", &xdb_v4(3)),
    );
    let fingerprint = |sources: &[&Source], special_regions| {
        let sources = sources.iter().map(|source| (*source).clone()).collect();
        let settings = Settings {
            sources,
            special_regions,
        };
        Atlas::open(&settings)
            .unwrap()
            .edition()
            .fingerprint
            .clone()
    };
    let separate = SpecialRegions::Separate;
    let all = [
        fingerprint(&[&mmdb, &xdb], separate),
        fingerprint(&[&xdb, &mmdb], separate),
        fingerprint(&[&xdb], separate),
        fingerprint(&[&xdb], SpecialRegions::Cn),
        fingerprint(&[&Source::Embedded], separate),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(!all[index + 1..].contains(one), "{index}");
        assert_eq!(one.len(), 64);
    }
    assert_eq!(
        all[2],
        fingerprint(&[&same], separate),
        "the name of a file is no part of it"
    );
    assert_eq!(all[4], Atlas::embedded().edition().fingerprint);
}

#[test]
fn a_file_that_changes_is_noticed() {
    let files = Files::new();
    let source = files.put("4.xdb", &xdb_v4(3));
    let atlas = open(&[Source::Embedded, source]).unwrap();
    assert!(!atlas.has_changed());
    files.put("4.xdb", &xdb_v6());
    assert!(atlas.has_changed());
    fs::remove_file(files.0.path().join("4.xdb")).unwrap();
    assert!(atlas.has_changed());
}

#[test]
fn what_cannot_be_used_is_said_in_a_sentence() {
    let files = Files::new();
    let missing = Source::File(PathBuf::from("/nonexistent/x.mmdb"));
    let nothing = mmdb_writer::write(&[("1.0.0.0/8", map(&[("asn", text("AS1"))]))], "ASN", 0);
    for (source, says) in [
        (
            missing,
            "cannot read the geo file \"/nonexistent/x.mmdb\": No such file",
        ),
        (
            files.put("a.mmdb", b"hello"),
            "it is neither MaxMind's mmdb nor ip2region's xdb",
        ),
        (
            files.put("b.mmdb", &nothing),
            "it knows no country (its type is \"ASN\")",
        ),
        (files.put("c.xdb", &xdb_v4(3)[..1000]), "it is cut short"),
    ] {
        let error = open(&[source]).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert!(
        open(&[])
            .unwrap_err()
            .contains("there is no source of places")
    );
}

#[test]
fn damaged_files_give_an_error_or_places_and_never_a_panic() {
    let files = Files::new();
    let mut random = StdRng::seed_from_u64(6);
    for (name, whole) in [
        ("a.mmdb", geolite()),
        ("4.xdb", xdb_v4(3)),
        ("6.xdb", xdb_v6()),
    ] {
        // The index of an xdb, half a megabyte, is not read: damage falls on what is.
        let unread = if name.ends_with("xdb") {
            256..524_544
        } else {
            0..0
        };
        let read: Vec<usize> = (0..whole.len()).filter(|at| !unread.contains(at)).collect();
        let rounds = if name.ends_with("xdb") { 200 } else { 3_000 };
        for round in 0..rounds {
            let mut damaged = whole.clone();
            for _ in 0..random.random_range(1..5) {
                damaged[read[random.random_range(0..read.len())]] = random.random();
            }
            if round % 4 == 0 {
                damaged.truncate(read[random.random_range(0..read.len())]);
            }
            if let Ok(atlas) = open(&[files.put(name, &damaged)]) {
                for address in ["1.2.3.4", "81.2.69.142", "2400:3200::1", "2a02:d280::1"] {
                    atlas.locate(address.parse().unwrap());
                }
            }
        }
    }
}

//! Every format with its traps: a log in `fixtures`, and beside it what each line is to be.

use std::{fs, path::Path};

use netmon_feeds::{Cutter, Format, Line, Options, Parser, Sighting, Skip, lines};
use time::{format_description::well_known::Rfc3339, macros::datetime};

/// Logs by name, and the formats as which they can be read.
const LOGS: [(&str, &[Format]); 16] = [
    ("plain.txt", &[Format::Auto]),
    ("time_ip.txt", &[Format::Auto]),
    ("rows.csv", &[Format::Auto, Format::Csv]),
    ("intelmq.ndjson", &[Format::Auto]),
    ("cowrie.ndjson", &[Format::Auto, Format::Ndjson]),
    ("shadowserver.csv", &[Format::Shadowserver]),
    ("feodo.csv", &[Format::Auto, Format::AbuseCh, Format::Csv]),
    (
        "feodo_plain.txt",
        &[Format::Auto, Format::AbuseCh, Format::Ip],
    ),
    ("urlhaus.csv", &[Format::Auto, Format::AbuseCh, Format::Csv]),
    ("urlhaus_plain.txt", &[Format::Auto, Format::AbuseCh]),
    ("threatfox.csv", &[Format::Auto, Format::AbuseCh]),
    ("sslbl.csv", &[Format::Auto, Format::AbuseCh, Format::Csv]),
    ("dataplane.txt", &[Format::Auto, Format::Dataplane]),
    ("maltrail.log", &[Format::Auto, Format::Maltrail]),
    ("maltrail_trails.txt", &[Format::Auto, Format::Maltrail]),
    ("events.cef", &[Format::Auto, Format::Cef]),
];

fn options(format: Format) -> Options {
    Options {
        format,
        window: datetime!(2026-08-23 0:00 UTC)..=datetime!(2026-11-22 0:00 UTC),
        family: vec!["mozi".to_owned()],
        ..Options::default()
    }
}

#[test]
fn every_line_of_every_format_is_what_it_is_to_be() {
    for (name, formats) in LOGS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name);
        let log = fs::read(&path).unwrap();
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
        let expected: Vec<_> = expected.lines().collect();
        for format in formats {
            let outcomes = read(options(*format), &log);
            assert_eq!(outcomes.len(), expected.len(), "lines of {name}");
            for (n, (outcome, expected)) in outcomes.iter().zip(&expected).enumerate() {
                assert_eq!(outcome, expected, "line {} of {name} as {format}", n + 1);
            }
        }
    }
}

/// Outcomes as the `.expected` files have them.
fn read(options: Options, log: &[u8]) -> Vec<String> {
    let mut cutter = Cutter::new();
    assert_eq!(
        cutter.push(log),
        (log.len(), None),
        "fixtures fit into a chunk"
    );
    let chunk = cutter.finish().unwrap();
    let mut parser = Parser::new(options);
    lines(&chunk.raw)
        .map(|line| text(parser.line(line)))
        .collect()
}

fn text(line: Line) -> String {
    match line {
        Line::Skipped(Skip::Blank) => "blank".to_owned(),
        Line::Skipped(Skip::Comment) => "comment".to_owned(),
        Line::Skipped(Skip::Header) => "header".to_owned(),
        Line::Rejected(reason) => reason.code().to_owned(),
        Line::Sighting(sighting) => sighted(sighting),
    }
}

fn sighted(sighting: Sighting) -> String {
    let mut text = sighting.address.to_string();
    if let Some(port) = sighting.port {
        text += &format!(" port {port}");
    }
    if let Some(at) = sighting.seen_at {
        text += &format!(" at {}", at.format(&Rfc3339).unwrap());
    }
    if let Some(country) = sighting.country {
        text += &format!(" in {}", str::from_utf8(&country).unwrap());
    }
    text
}

#[test]
fn a_stated_format_takes_no_other() {
    for (format, line, expected) in [
        (Format::Ip, "36.5.0.1:80", "unrecognised"),
        (Format::Ip, "36.5.0.1", "36.5.0.1"),
        (Format::Ip, "2026-11-20 36.5.0.1", "unrecognised"),
        (Format::IpPort, "36.5.0.1", "bad_port"),
        (Format::IpPort, "36.5.0.1:80", "36.5.0.1 port 80"),
        (Format::IpPort, "36.5.0.1 80", "36.5.0.1 port 80"),
        (Format::TimeIp, "36.5.0.1", "bad_time"),
        (Format::Csv, "36.5.0.1", "36.5.0.1"),
        (Format::Csv, "{\"src_ip\": \"36.5.0.1\"}", "unrecognised"),
        (Format::Ndjson, "36.5.0.1", "bad_json"),
        (Format::Shadowserver, "36.5.0.1", "no_header"),
        (Format::Dataplane, "36.5.0.1", "unrecognised"),
        (Format::Cef, "36.5.0.1", "bad_cef"),
    ] {
        let outcomes = read(options(format), line.as_bytes());
        assert_eq!(outcomes, [expected], "{line} as {format}");
    }
}

#[test]
fn a_zone_holds_for_times_that_do_not_say_theirs() {
    let options = Options {
        zone: netmon_feeds::parse_zone("+08:00").unwrap(),
        ..options(Format::Auto)
    };
    let log = "2026-11-20 18:00:00,36.5.0.1,80\n\
               2026-11-20T10:00:00Z,36.5.0.1,80\n\
               1795168800,36.5.0.1,80\n\
               \"first_seen_utc\",\"dst_ip\",\"dst_port\"\n\
               \"2026-11-20 10:00:00\",\"36.5.0.1\",\"80\"\n";
    let outcomes = read(options, log.as_bytes());
    let ten = "36.5.0.1 port 80 at 2026-11-20T10:00:00Z";
    assert_eq!(outcomes, [ten, ten, ten, "header", ten]);
}

#[test]
fn special_addresses_are_taken_on_request() {
    let options = Options {
        special: netmon_feeds::Special::Accept,
        ..options(Format::Auto)
    };
    let outcomes = read(options, b"10.0.0.1\n239.1.2.3\nfe80::1%eth0\n");
    assert_eq!(outcomes, ["10.0.0.1", "239.1.2.3", "zone_id"]);
}

#[test]
fn a_line_may_be_as_long_as_it_may_be() {
    let line = |length: usize| {
        let mut line = b"36.5.0.1 #".to_vec();
        line.resize(length, b'x');
        line
    };
    for (length, end, expected) in [
        (65_536, &b"\n"[..], "36.5.0.1"),
        (65_536, b"\r\n", "36.5.0.1"),
        (65_537, b"\n", "line_too_long"),
        (10_000_000, b"\r\n", "line_too_long"),
    ] {
        let log = [&line(length), end, b"36.5.0.2"].concat();
        let outcomes = read(options(Format::Auto), &log);
        assert_eq!(outcomes, [expected, "36.5.0.2"], "{length}");
    }
}

//! Pairing and what it measures, on real captures: what others have paired, and what clients have
//! measured themselves. `captures` beside this file were taken of unmodified chrony and ntpsec over a
//! path of 3 ms forward and 7 ms back, at the client's network card; others are used where they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    build::{ethernet, frames, ipv4, request, response, udp},
    run::{on_files, replay, run},
    shared::captures,
};

const KEYS: [&str; 28] = [
    "record",
    "match",
    "request_frame",
    "response_frame",
    "requested_at_ns",
    "answered_at_ns",
    "client",
    "client_port",
    "server",
    "server_port",
    "version",
    "mode",
    "leap",
    "stratum",
    "poll",
    "precision",
    "reference_id",
    "response_time_ns",
    "server_processing_ns",
    "network_delay_ns",
    "offset_ns",
    "offset_error_ns",
    "client_offset_ns",
    "client_delay_ns",
    "null_reason",
    "kiss_code",
    "nts",
    "vantage",
];

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay/captures")
}

/// Those kept here and all others, with the file beside each that ends so.
fn with_beside(end: &str) -> Vec<(PathBuf, Value)> {
    let here = fs::read_dir(kept()).unwrap();
    let here = here.map(|entry| entry.unwrap().path());
    let all = here.filter(|path| path.extension().is_some_and(|end| end == "pcap"));
    all.chain(captures())
        .filter_map(|capture| {
            let beside = fs::read_to_string(capture.with_extension(end)).ok()?;
            Some((capture, serde_json::from_str(&beside).unwrap()))
        })
        .collect()
}

fn exchanges(capture: &Path, more: &[&str]) -> Vec<Value> {
    let mut arguments = vec![
        capture.to_str().unwrap(),
        "--userspace",
        "--format",
        "ndjson",
    ];
    arguments.extend(more);
    on_files(&arguments).records("exchange")
}

/// Whether our word and the reference's mean the same: it knows neither what came too late nor what was
/// given up or refused.
fn means(ours: &str, theirs: &str) -> bool {
    match theirs {
        "basic" => ["basic", "late", "superseded"].contains(&ours),
        "weak_zero_origin" => ours == "weak",
        "unanswered" => ["unanswered", "refused", "superseded"].contains(&ours),
        theirs => ours == theirs,
    }
}

#[test]
fn every_pair_is_the_one_that_others_have_found() {
    let mut compared = 0;
    for (capture, pairs) in with_beside("pairs.json") {
        let ours = exchanges(&capture, &[]);
        for event in pairs["events"].as_array().unwrap() {
            let kind = event["match"].as_str().or(event["kind"].as_str()).unwrap();
            let frames = ["req_frame", "resp_frame"].map(|frame| &event[frame]);
            let place = format!("{}: {kind} {frames:?}", capture.display());
            let fits = |exchange: &&Value| {
                let ours = [&exchange["request_frame"], &exchange["response_frame"]];
                let same = ours.iter().zip(frames).all(|(a, b)| b.is_null() || *a == b);
                same && means(exchange["match"].as_str().unwrap(), kind)
            };
            let found = ours.iter().find(fits).unwrap_or_else(|| panic!("{place}"));
            if event["kind"] == "pair" {
                assert_eq!(
                    found["response_time_ns"], event["response_time_ns"],
                    "{place}"
                );
            }
            compared += 1;
        }
    }
    println!("{compared} events compared");
    assert!(compared >= 38, "at least those kept here");
}

#[test]
fn offset_and_delay_are_those_that_the_client_wrote_down() {
    let (mut offsets, mut delays) = (Vec::new(), Vec::new());
    for (capture, truth) in with_beside("chrony-truth.json") {
        // Recorded while a compiler ran on the same machine: its log and its packets differ too.
        if capture.ends_with("chrony-basic-v4.c.pcap") {
            continue;
        }
        let ours = exchanges(&capture, &["--vantage", "client"]);
        for sample in truth["samples"].as_array().unwrap() {
            let is_it = |exchange: &&Value| {
                exchange["request_frame"] == sample["req_frame"]
                    && exchange["response_frame"] == sample["resp_frame"]
            };
            let found = ours.iter().find(is_it).unwrap();
            assert_eq!(found["vantage"], "client");
            let difference = |ours: &str, theirs: &str| {
                (found[ours].as_f64().unwrap() / 1e9 - sample[theirs].as_f64().unwrap()).abs()
            };
            offsets.push(difference("client_offset_ns", "chrony_offset_s"));
            delays.push(difference("client_delay_ns", "chrony_delay_s"));
        }
    }
    for (name, values, most) in [
        ("offset", &mut offsets, 50e-6),
        ("delay", &mut delays, 150e-6),
    ] {
        values.sort_by(f64::total_cmp);
        let median = values[values.len() / 2];
        let within = values.iter().filter(|value| **value <= most).count();
        println!(
            "{name}: {} samples, median {:.1} us",
            values.len(),
            median * 1e6
        );
        assert!(within * 100 >= values.len() * 95, "{name}: {values:?}");
        assert!(median <= 10e-6, "{name}: median {median} s");
    }
    assert!(offsets.len() >= 12, "at least those kept here");
}

#[test]
fn a_kiss_of_death_gives_a_response_time_and_nothing_else() {
    let found = exchanges(
        &kept().join("ntpsec-kod-rate.c.pcap"),
        &["--vantage", "client"],
    );
    let codes: Vec<_> = found
        .iter()
        .map(|exchange| &exchange["kiss_code"])
        .collect();
    assert_eq!(codes, ["INIT", "RATE", "RATE"]);
    for exchange in &found {
        assert!(exchange["response_time_ns"].is_i64());
        for value in [
            "server_processing_ns",
            "network_delay_ns",
            "offset_ns",
            "offset_error_ns",
            "client_offset_ns",
            "client_delay_ns",
        ] {
            assert!(exchange[value].is_null(), "{value}: {exchange}");
        }
        assert_eq!(exchange["null_reason"], "kod");
    }
}

#[test]
fn an_interleaved_exchange_measures_the_one_before_it() {
    let capture = kept().join("chrony-xleave-v4.c.pcap");
    let pairs: Value =
        serde_json::from_str(&fs::read_to_string(capture.with_extension("pairs.json")).unwrap())
            .unwrap();
    let ours = exchanges(&capture, &[]);
    let mut compared = 0;
    for event in pairs["events"].as_array().unwrap() {
        let Some(processing) = event["server_processing_prev_ns"].as_i64() else {
            continue;
        };
        let is_it = |exchange: &&Value| exchange["request_frame"] == event["req_frame"];
        let found = ours.iter().find(is_it).unwrap();
        let near = |ours: &str, theirs: i64| found[ours].as_i64().unwrap().abs_diff(theirs) <= 1;
        assert!(near("server_processing_ns", processing), "{found}");
        let delay = event["net_delay_prev_ns"].as_i64().unwrap();
        assert!(near("network_delay_ns", delay), "{found}");
        compared += 1;
    }
    assert_eq!(compared, 21);
}

#[test]
fn every_packet_of_peers_is_an_exchange() {
    let capture = kept().join("chrony-symmetric.c.pcap");
    let found = exchanges(&capture, &[]);
    assert_eq!(found.len(), 31);
    assert!(
        found
            .iter()
            .all(|exchange| exchange["match"] == "symmetric")
    );
    // The first of each side answer nothing.
    assert_eq!(
        found
            .iter()
            .filter(|e| e["request_frame"].is_null())
            .count(),
        2
    );
    assert!(
        found
            .iter()
            .all(|exchange| exchange["response_time_ns"].is_null())
    );
}

#[test]
fn every_key_is_there_in_every_exchange() {
    let question = [&[0x16, 2, 0, 2][..], &[0; 8]].concat();
    let broadcast = [&[0x25, 2][..], &[0; 46]].concat();
    let datagrams = [
        udp(40_000, 123, &request(7)),
        udp(40_001, 123, &question),
        udp(123, 123, &broadcast),
    ];
    let packets: Vec<_> = datagrams
        .iter()
        .map(|datagram| ethernet(0x0800, &ipv4(17, datagram)))
        .collect();
    let found = replay(&frames(1, &packets)).records("exchange");
    assert_eq!(found.len(), 3);
    for exchange in &found {
        let keys = exchange.as_object().unwrap();
        assert!(KEYS.iter().all(|key| keys.contains_key(*key)), "{exchange}");
        assert_eq!(keys.len(), KEYS.len(), "{exchange}");
    }
    let kinds: Vec<_> = found.iter().map(|exchange| &exchange["match"]).collect();
    for kind in ["broadcast", "control", "unanswered"] {
        assert!(kinds.iter().any(|found| *found == kind), "{kinds:?}");
    }
}

#[test]
fn an_icmp_error_refuses_the_request_that_it_quotes() {
    let asked = ipv4(17, &udp(40_000, 123, &request(7)));
    let unreachable = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &asked].concat();
    let packets = [
        ethernet(0x0800, &asked),
        ethernet(0x0800, &ipv4(1, &unreachable)),
    ];
    let replay = replay(&frames(1, &packets));
    let found = replay.records("exchange");
    assert_eq!(found.len(), 1, "{}", replay.stdout);
    assert_eq!(
        (&found[0]["match"], &found[0]["request_frame"]),
        (&"refused".into(), &1.into())
    );
    assert_eq!(
        replay.records("packet").len(),
        1,
        "what is quoted has no record"
    );
}

#[test]
fn what_a_file_cannot_tell_is_null_until_somebody_tells() {
    let answered = ipv4(17, &udp(123, 40_000, &response(7, 0xe000_0000_0000_0000)));
    let packets = [
        ethernet(0x0800, &ipv4(17, &udp(40_000, 123, &request(7)))),
        ethernet(0x0800, &answered),
    ];
    // Both packets have the addresses of the first; only what is said about the place matters here.
    let capture = frames(1, &packets);
    let told = |place: &str| {
        let arguments = ["--userspace", "--format", "ndjson", "--vantage", place];
        run(&capture, &arguments).records("exchange")
    };
    for exchange in replay(&capture).records("exchange") {
        assert!(exchange["vantage"].is_null(), "{exchange}");
    }
    for place in ["client", "server", "transit"] {
        for exchange in told(place) {
            assert_eq!(exchange["vantage"], place);
        }
    }
    assert!(told("nowhere").is_empty(), "no such place");
}

#[test]
fn ntp_is_read_on_the_ports_that_are_named() {
    let asked = |port| ethernet(0x0800, &ipv4(17, &udp(40_000, port, &request(port.into()))));
    let capture = frames(1, &[asked(123), asked(1123), asked(1124)]);
    let read = |more: &[&str]| {
        let arguments = ["--userspace", "--packets", "ntp", "--format", "ndjson"];
        let packets = run(&capture, &[&arguments, more].concat()).records("packet");
        let ports = packets
            .iter()
            .map(|packet| packet["destination_port"].as_u64());
        ports.collect::<Option<Vec<_>>>().unwrap()
    };
    assert_eq!(read(&[]), [123]);
    assert_eq!(read(&["--ntp-port", "1123"]), [1123]);
    let both = ["--ntp-port", "1123", "--ntp-port", "123"];
    assert_eq!(read(&both), [123, 1123]);
    let refused = run(&capture, &["--userspace", "--ntp-port", "0"]);
    assert!(!refused.success);
    assert!(
        refused.stderr.contains("--ntp-port: port 0"),
        "{}",
        refused.stderr
    );
}

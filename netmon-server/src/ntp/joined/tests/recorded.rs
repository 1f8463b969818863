//! Recordings of one path at the client, in the middle and at the server, with frames and pairs by
//! others, where they are: in the directory `NETMON_CAPTURES` names, or beside the checkout.

use std::{collections::HashMap, fs, net::SocketAddr, path::PathBuf};

use serde_json::Value;

use super::{KEPT, MS, TOLERANCE_US, grouped};
use crate::ntp::joined::{
    Basis, Joined, Kind, Path, Place, Sighting, Summary, Trust, Vantage, group,
};

/// Names of recordings that were made at all three places.
fn recordings() -> Vec<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/captures");
    let directory = std::env::var_os("NETMON_CAPTURES").map_or(beside.into(), PathBuf::from);
    let files = fs::read_dir(directory.join("ntp/lab"))
        .into_iter()
        .flatten();
    let mut found: Vec<_> = files
        .flatten()
        .filter_map(|file| Some(file.path().to_str()?.strip_suffix(".m.pairs.json")?.into()))
        .collect();
    found.sort();
    found
}

/// What was recorded at a place (`c`, `m`, `s`); nobody says which place it is.
fn sightings(recording: &std::path::Path, agent: i64, place: &str) -> Vec<Sighting> {
    let read = |end: &str| {
        let path = format!("{}.{place}.{end}", recording.display());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let frames = read("tshark.ndjson");
    let frames: HashMap<i64, Value> = frames
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|frame: Value| {
            (
                frame["frame.number"].as_str().unwrap().parse().unwrap(),
                frame,
            )
        })
        .collect();
    let raw = |frame: &Value, field: &str| {
        let digits = frames[&frame.as_i64().unwrap()]["decoded"][field].as_str();
        u64::from_str_radix(digits.unwrap(), 16).unwrap()
    };
    let pairs: Value = serde_json::from_str(&read("pairs.json")).unwrap();
    let pairs = pairs["events"].as_array().unwrap().iter();
    let answered = pairs.filter(|event| event["kind"] == "pair");
    let sighting = |(ordinal, event): (i32, &Value)| {
        let requested_ns = event["t_req_ns"].as_i64().unwrap();
        Sighting {
            key: (requested_ns / 1000, agent, 1, 1, ordinal),
            place: Place {
                agent,
                interface: place.to_owned(),
                vlans: (0, 0),
            },
            path: Path {
                client: address(&event["client"]),
                server: address(&event["server"]),
            },
            matched: event["match"].as_str().unwrap().to_owned(),
            vantage: Vantage::Transit,
            clock: KEPT,
            requested_at_ns: Some(requested_ns),
            answered_at_ns: event["t_resp_ns"].as_i64(),
            cookie: raw(&event["req_frame"], "xmt_hex"),
            receive_timestamp: raw(&event["resp_frame"], "rec_hex"),
            transmit_timestamp: raw(&event["resp_frame"], "xmt_hex"),
            response_time_ns: event["response_time_ns"].as_i64(),
            server_processing_ns: event["server_processing_ns"].as_i64(),
            offset_ns: event["offset_sensor_ns"].as_i64(),
            offset_error_ns: event["net_delay_ns"]
                .as_i64()
                .map(|ns| ns.unsigned_abs() / 2),
            clock_stepped: false,
            request_ttl: None,
        }
    };
    (0..).zip(answered).map(sighting).collect()
}

/// An address and its port behind the last colon, also of version 6.
fn address(text: &Value) -> SocketAddr {
    let (ip, port) = text.as_str().unwrap().rsplit_once(':').unwrap();
    SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap())
}

#[test]
fn every_recorded_exchange_is_joined_in_the_order_of_the_path() {
    for recording in recordings() {
        let places = ["c", "m", "s"].into_iter().zip(1..);
        let sightings: Vec<_> = places
            .flat_map(|(place, agent)| sightings(&recording, agent, place))
            .collect();
        let name = recording.display();
        let exchanges = sightings.len() / 3;
        assert_eq!(
            grouped(sightings.clone()),
            vec![(Kind::Joined, vec![1, 2, 3]); exchanges],
            "{name}"
        );
        let (mut forward, mut backward) = (Vec::new(), Vec::new());
        for group in group(sightings, TOLERANCE_US) {
            let joined = Joined::new(group.sightings, Trust::Kernel);
            let order: Vec<_> = joined.sightings.iter().map(|s| s.place.agent).collect();
            assert_eq!(order, [1, 2, 3], "{name}");
            assert_eq!(joined.ordered_by, Basis::ResponseTime);
            let processing = joined.sightings.iter().map(|s| s.server_processing_ns);
            let processing: Vec<_> = processing.collect();
            assert!(processing.iter().all(|ns| *ns == processing[0]), "{name}");
            let whole = joined.whole.unwrap();
            forward.extend(whole.forward_ns);
            backward.extend(whole.backward_ns);
            decomposes(&joined);
        }
        let [forward, backward] = [forward, backward].map(Summary::of);
        println!("{name}: {forward:?} {backward:?}");
        assert_eq!((forward.count, backward.count), (exchanges, exchanges));
        // The relay of the recordings took about 0.3 ms more. The others are few and noisy.
        if name.to_string().contains("chrony") {
            assert!((forward.median.unwrap() - 3 * MS).abs() < MS / 2, "{name}");
            assert!((backward.median.unwrap() - 7 * MS).abs() < MS / 2, "{name}");
        }
    }
}

/// What a place measures is the clock and the asymmetry, and nothing else.
fn decomposes(joined: &Joined) {
    let Some(clock_ns) = joined.server_clock.offset_ns else {
        return;
    };
    for (number, sighting) in joined.sightings.iter().enumerate() {
        let asymmetry_ns = joined.offset_from_asymmetry_ns(number, Trust::Kernel);
        if let Some(offset_ns) = sighting.offset_ns {
            let rest_ns = offset_ns - clock_ns - asymmetry_ns.unwrap();
            assert!(rest_ns.abs() <= 2, "{rest_ns} ns are neither");
        }
    }
}

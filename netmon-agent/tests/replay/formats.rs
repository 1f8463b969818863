//! pcap and pcapng in all their variants.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use crate::{
    build::{
        MICROSECONDS, NANOSECONDS, Order, PcapNg, ethernet, frames, ipv4, pcap, request,
        request_packet, response, udp,
    },
    run::{on_files, replay},
};

fn frame(transmit: u64) -> Vec<u8> {
    ethernet(0x0800, &request_packet(transmit))
}

fn times(capture: &[u8]) -> Vec<Option<i64>> {
    let packets = replay(capture).records("packet");
    packets
        .iter()
        .map(|packet| packet["time_ns"].as_i64())
        .collect()
}

#[test]
fn byte_order_and_resolution_of_pcap_are_followed() {
    let frame = frame(1);
    let record = [(1_700_000_000, 123_456, frame.len() as u32, &frame[..])];
    for order in Order::BOTH {
        let micro = times(&pcap(order, MICROSECONDS, 1, &record));
        assert_eq!(micro, [Some(1_700_000_000_123_456_000)]);
        let nano = times(&pcap(order, NANOSECONDS, 1, &record));
        assert_eq!(nano, [Some(1_700_000_000_000_123_456)]);
    }
}

#[test]
fn sections_and_interfaces_of_pcapng_have_orders_and_clocks_of_their_own() {
    let offset = 1_600_000_000_i64;
    let mut file = PcapNg::new(Order::Little);
    file.interface(1, 0, &[(2, b"eth0")])
        .interface(
            101,
            0,
            &[(2, b"tun0"), (9, &[9]), (14, &offset.to_le_bytes())],
        )
        .enhanced(0, 1_700_000_000_000_001, &frame(1), &[])
        .block(0x0bad, &[1, 2, 3, 4, 5])
        .enhanced(1, 7, &request_packet(2), &[(1, b"a comment")])
        .block(5, &[0; 12])
        .section(Order::Big)
        .interface(1, 0, &[(9, &[0x80 | 10])])
        .enhanced(0, 3 << 10 | 512, &frame(3), &[(2, &[0, 0, 0, 2])])
        .obsolete(0, 4 << 10, &frame(4));
    let replay = replay(&file.octets);
    assert_eq!(replay.stderr, "");
    let found: Vec<_> = replay
        .records("packet")
        .iter()
        .map(|packet| {
            let interface = packet["interface"].as_str().unwrap().to_owned();
            (
                packet["frame"].as_u64().unwrap(),
                interface,
                packet["time_ns"].as_i64().unwrap(),
            )
        })
        .collect();
    let expected = [
        (1, "eth0", 1_700_000_000_000_001_000),
        (2, "tun0", offset * 1_000_000_000 + 7),
        (3, "0", 3_500_000_000),
        (4, "0", 4_000_000_000),
    ];
    assert_eq!(
        found,
        expected.map(|(frame, name, ns)| (frame, name.to_owned(), ns))
    );
    let sent: Vec<_> = replay
        .records("counters")
        .into_iter()
        .filter(|c| c["direction"] == "egress")
        .collect();
    assert_eq!(sent.len(), 1, "the third packet says that it went out");
}

#[test]
fn a_simple_packet_has_no_time_and_may_be_cut_by_the_snap_length() {
    let frame = frame(5);
    let mut file = PcapNg::new(Order::Big);
    file.interface(1, 60, &[])
        .simple(frame.len() as u32, &frame[..60])
        .simple(58, &frame[..58]);
    let packets = replay(&file.octets).records("packet");
    assert_eq!(packets.len(), 2);
    let sizes = |n: usize| {
        (
            packets[n]["length"].as_u64(),
            packets[n]["captured"].as_u64(),
        )
    };
    assert_eq!(
        (sizes(0), sizes(1)),
        ((Some(90), Some(60)), (Some(58), Some(58)))
    );
    assert!(packets[0]["time_ns"].is_null());
    assert!(packets[0]["transmit_timestamp"].is_null());
    assert_eq!(packets[0]["reference_id"], "00000000");
}

#[test]
fn packets_without_a_time_are_paired_and_say_nothing_of_time() {
    let mut answer = ipv4(17, &udp(123, 40_000, &response(7, 1 << 40)));
    // From the other host.
    answer[12..20].rotate_left(4);
    let [asked, answer] = [request_packet(7), answer].map(|packet| ethernet(0x0800, &packet));
    let mut file = PcapNg::new(Order::Little);
    file.interface(1, 0, &[])
        .simple(asked.len() as u32, &asked)
        .simple(answer.len() as u32, &answer);
    let exchange = &replay(&file.octets).records("exchange")[0];
    assert_eq!(exchange["match"], "basic");
    assert_eq!(exchange["null_reason"], "no_time");
    let absent = [
        "requested_at_ns",
        "answered_at_ns",
        "response_time_ns",
        "offset_ns",
    ];
    for key in absent {
        assert!(exchange[key].is_null(), "{key}");
    }
}

#[test]
fn packets_that_pcapng_does_not_describe_are_counted() {
    let mut file = PcapNg::new(Order::Little);
    file.simple(4, &[0; 4])
        .interface(1, 0, &[])
        .enhanced(3, 0, &frame(1), &[])
        .block(6, &[0; 8])
        .block(6, &[[0; 12].as_slice(), &[0xff; 8]].concat())
        .enhanced(0, 0, &frame(2), &[]);
    let replay = replay(&file.octets);
    assert_eq!(replay.transmits(), ["0000000000000002"]);
    assert_eq!(replay.records("packet")[0]["frame"], 5);
    assert_eq!(replay.losses("unknown_interface"), 2);
    assert_eq!(replay.losses("malformed_record"), 2);
}

#[test]
fn extension_fields_beyond_what_an_event_carries_are_read_too() {
    let field = |kind: u16, length: u16| {
        [
            &kind.to_be_bytes()[..],
            &length.to_be_bytes(),
            &vec![7; usize::from(length) - 4],
        ]
        .concat()
    };
    let fields = [
        field(0x0104, 36),
        field(0x0204, 104),
        field(0x0404, 40),
        vec![0, 0, 0, 9],
        vec![5; 16],
    ];
    let payload = [request(1), fields.concat()].concat();
    let frame = ethernet(0x0800, &ipv4(17, &udp(40_000, 123, &payload)));
    let packet = &replay(&frames(1, &[frame])).records("packet")[0];
    assert_eq!(
        packet["extensions"],
        serde_json::json!([0x0104, 0x0204, 0x0404])
    );
    assert_eq!(packet["mac_length"], 20);
}

#[test]
fn extension_fields_are_unknown_where_the_capture_ends_before_the_first() {
    let fields = [&[0x01, 0x04, 0, 36][..], &[7; 32]].concat();
    let payload = [request(1), fields].concat();
    let frame = ethernet(0x0800, &ipv4(17, &udp(40_000, 123, &payload)));
    let extensions = |captured: usize| {
        let length = frame.len() as u32;
        let records = [(1_700_000_000, 0, length, &frame[..captured])];
        let file = pcap(Order::Little, MICROSECONDS, 1, &records);
        let packet = &replay(&file).records("packet")[0];
        (packet["extensions"].clone(), packet["mac_length"].clone())
    };
    let null = serde_json::Value::Null;
    let begin = frame.len() - 36;
    assert_eq!(extensions(begin), (null.clone(), null.clone()));
    assert_eq!(extensions(begin + 3), (null.clone(), null));
    let known = serde_json::json!([0x0104]);
    assert_eq!(extensions(begin + 4), (known.clone(), 0.into()));
    assert_eq!(extensions(frame.len()), (known, 0.into()));
}

#[test]
fn a_frame_of_any_length_is_read_and_counted_whole() {
    let mut huge = frame(1);
    huge.resize(300_000, 0);
    let replay = replay(&frames(1, &[huge, frame(2)]));
    assert_eq!(replay.transmits().len(), 2);
    assert_eq!(replay.records("counters")[0]["bytes"], 300_090);
}

#[test]
fn gzip_makes_no_difference() {
    let plain = frames(1, &[frame(1), frame(2)]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&plain).unwrap();
    let zipped = encoder.finish().unwrap();
    assert_eq!(replay(&zipped).stdout, replay(&plain).stdout);
    let cut = replay(&zipped[..zipped.len() - 20]);
    assert!(cut.success && cut.losses("file_cut") == 1, "{}", cut.stderr);
}

#[test]
fn several_files_are_one_capture_whose_frames_name_their_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let answer = response(1, 1 << 32);
    let mut answer = ipv4(17, &udp(123, 40_000, &answer));
    // From 192.0.2.2 to 192.0.2.1.
    (answer[15], answer[19]) = (2, 1);
    std::fs::write(path("a.pcap"), frames(1, &[frame(1)])).unwrap();
    std::fs::write(path("b.pcap"), frames(101, &[answer])).unwrap();
    let replay = on_files(&[
        &path("a.pcap"),
        &path("b.pcap"),
        "--userspace",
        "--format",
        "ndjson",
        "--packets",
        "ntp",
    ]);
    let packets = replay.records("packet");
    assert_eq!(packets[1]["file"], path("b.pcap"));
    assert_eq!(packets[1]["frame"], 1);
    let exchanges = replay.records("exchange");
    assert_eq!(exchanges.len(), 1, "{}", replay.stdout);
    assert_eq!(exchanges[0]["match"], "basic");
}

//! The kernel programs against the slice reader: the same source must say the same.

use anyhow::Result;
use netmon_agent::sensor::{Program, Sensor, TEST_RUN_IFINDEX};
use netmon_common::{
    event::MAX_PAYLOAD,
    loss::Loss,
    ntp,
    packet::{Link, Slice, udp_on_port},
};

/// The kernel refuses to run a program on a frame without a whole IP header; those lengths are the
/// slice reader's tests alone.
fn least_length(frame: &[u8]) -> usize {
    match frame[12..14] {
        [0x08, 0x00] => 34,
        [0x86, 0xdd] => 54,
        _ => 14,
    }
}

#[tokio::test]
async fn kernel_and_slice_reader_agree_on_frames_cut_at_every_byte() -> Result<()> {
    let mut sensor = Sensor::load(1 << 20, false, None)?;
    sensor.insert_counters(TEST_RUN_IFINDEX)?;
    let mut frames = 0;
    for whole in golden_frames() {
        for length in least_length(&whole)..=whole.len() {
            let frame = &whole[..length];
            let before = sensor.losses()?;
            sensor.test_run(Program::Ingress, frame, 1)?;
            let mut events = Vec::new();
            while sensor.drain(|event| events.extend(event)) {}
            let after = sensor.losses()?;
            let lost: Vec<Loss> = after
                .iter()
                .zip(before)
                .filter(|((_, now), (_, then))| now > then)
                .map(|((loss, _), _)| *loss)
                .collect();
            let reader = Slice(frame);
            let link = Link::parse(&reader, None);
            match link.and_then(|link| udp_on_port(&reader, link, ntp::PORT)) {
                Ok(None) => assert!(events.is_empty() && lost.is_empty(), "{frame:02x?}"),
                Err(loss) => assert!(
                    events.is_empty() && lost == [loss],
                    "{frame:02x?}: {lost:?}"
                ),
                Ok(Some(datagram)) => {
                    assert!(
                        lost.is_empty() && events.len() == 1,
                        "{frame:02x?}: {lost:?}"
                    );
                    let event = &events[0];
                    let captured = &frame[datagram.payload_offset..];
                    let captured = captured
                        .get(..usize::from(datagram.payload_length).min(MAX_PAYLOAD))
                        .unwrap_or(&captured[..captured.len().min(MAX_PAYLOAD)]);
                    assert_eq!(event.payload(), captured, "{frame:02x?}");
                    assert_eq!(event.payload_length, datagram.payload_length);
                    assert_eq!(event.source_port, datagram.source_port);
                    assert_eq!(event.destination_port, datagram.destination_port);
                    assert_eq!(event.ttl, datagram.ttl);
                    assert_eq!([event.vlan, event.inner_vlan], datagram.vlans);
                }
            }
            frames += 1;
        }
    }
    let counted = sensor.totals(TEST_RUN_IFINDEX)?.ingress.packets;
    assert_eq!(counted, frames, "every frame is counted");
    Ok(())
}

/// Each header alone and some combined, with several lengths of payload.
fn golden_frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for payload in [0, 1, 12, 47, 48, 49, 200] {
        for (source, destination) in [(123, 40_000), (40_000, 123), (123, 123), (40_000, 53)] {
            let datagram = udp(source, destination, payload);
            frames.push(link(&[], 0x0800, &ipv4(17, 0, 0, &datagram)));
            frames.push(link(&[], 0x86dd, &ipv6(17, &datagram)));
        }
    }
    let request = udp(40_000, 123, 48);
    let options = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let chain = |count: usize| {
        let mut chain = vec![options(60); count - 1].concat();
        chain.extend(options(17));
        chain.extend(&request);
        ipv6(60, &chain)
    };
    frames.extend([
        link(&[], 0x0800, &ipv4(17, 40, 0, &request)),
        link(&[], 0x0800, &ipv4(17, 0, 0x2000, &request)),
        link(&[], 0x0800, &ipv4(17, 0, 0x0010, &request)),
        link(&[], 0x0800, &ipv4(6, 0, 0x0010, &request)),
        link(&[], 0x0800, &ipv4(6, 0, 0, &request)),
        link(
            &[],
            0x86dd,
            &ipv6(44, &[&[17, 0, 0, 1, 0, 0, 0, 9], &request[..]].concat()),
        ),
        link(
            &[],
            0x86dd,
            &ipv6(44, &[&[17, 0, 0, 9, 0, 0, 0, 9], &request[..]].concat()),
        ),
        link(
            &[],
            0x86dd,
            &ipv6(51, &[&[17, 4], &[0; 22][..], &request].concat()),
        ),
        link(&[], 0x86dd, &ipv6(58, &request)),
        link(&[], 0x86dd, &chain(6)),
        link(&[], 0x86dd, &chain(7)),
        link(&[0x8100], 0x0800, &ipv4(17, 0, 0, &request)),
        link(&[0x88a8, 0x8100], 0x86dd, &ipv6(17, &request)),
        link(&[0x88a8, 0x8100, 0x8100], 0x0800, &ipv4(17, 0, 0, &request)),
        link(&[], 0x0806, &[0; 28]),
    ]);
    frames
}

fn link(tags: &[u16], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (number, tag) in tags.iter().enumerate() {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, number as u8 + 1]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}

fn ipv4(protocol: u8, options: usize, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45 + options as u8 / 4, 0, 0, 0, 0, 1];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend(vec![1; options]);
    packet.extend(payload);
    packet
}

fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next_header, 63];
    packet.extend([0xfd; 32]);
    packet.extend(payload);
    packet
}

fn udp(source: u16, destination: u16, payload: usize) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend((payload as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend((0..payload).map(|n| n as u8));
    datagram
}

//! The packet parser: any octets are a packet or a loss, and a frame that is cut is the same packet
//! or truncated.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon_common::{
    loss::Loss,
    ntp::NtpPorts,
    packet::{
        Datagram, IpHeader, Link, Packet, Slice, headers_length, inner, parse, quoted, udp_on_port,
    },
};

fuzz_target!(|input: &[u8]| {
    // The first octet says what the link is like and where to cut.
    let Some((&choice, frame)) = input.split_first() else {
        return;
    };
    let stripped_tag = (choice & 1 != 0).then_some(0x6064);
    let link = |frame: &[u8]| match choice & 6 {
        0 => Ok(Link::bare(0x0800)),
        2 => Ok(Link::bare(0x86dd)),
        _ => Link::parse(&Slice(frame), stripped_tag),
    };
    let whole = link(frame).and_then(|link| everything(frame, link));
    let cut = &frame[..frame.len() * usize::from(choice >> 3) / 32];
    let part = link(cut).and_then(|link| everything(cut, link));
    assert!(part == whole || part == Err(Loss::Truncated));
});

fn everything(frame: &[u8], link: Link) -> Result<Packet, Loss> {
    let reader = Slice(frame);
    // 53, so that both kinds of port are found by what looks like ordinary traffic.
    let ports = NtpPorts::new([53, 123]).expect("two ports are few enough");
    let ntp = udp_on_port(&reader, link, &ports);
    let _ = headers_length(&reader, link);
    if let Ok(Some(ip)) = IpHeader::parse(&reader, &link) {
        let refused = Datagram::refused_on_port(&reader, &link, &ip, &ports);
        assert!(!matches!((ntp, refused), (Ok(Some(_)), Ok(Some(_)))));
    }
    let packet = parse(&reader, link)?;
    let _ = (quoted(&reader, &packet), inner(&reader, &packet));
    if let Ok(Some(datagram)) = ntp {
        assert_eq!(
            packet.ports(),
            Some((datagram.source_port, datagram.destination_port))
        );
    }
    Ok(packet)
}

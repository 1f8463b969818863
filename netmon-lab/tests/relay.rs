//! The relay as a cable: what goes in at one end comes out at the other, late as told.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use netmon_lab::{
    InterfaceStatistics, Namespace, Relay, child,
    link::{self, End, Mac},
    traffic,
};

const LEFT: &str = "10.9.0.1";
const RIGHT: &str = "10.9.0.2";

struct Net {
    left: Namespace,
    right: Namespace,
    relay: Relay,
    // Last, so that the relay ends before its interfaces do.
    middle: Namespace,
}

/// Two namespaces, their cables ending in a third one, joined there.
fn net(forward: Duration, backward: Duration) -> Net {
    let [left, middle, right] = [(); 3].map(|()| Namespace::new().unwrap());
    for (number, place, own, other) in [(1, &left, LEFT, RIGHT), (2, &right, RIGHT, LEFT)] {
        let side = format!("side{number}");
        let at_middle = End {
            place: &middle,
            name: &side,
            mac: Mac::local(0x10 + number),
        };
        let inside = End {
            place,
            name: "eth0",
            mac: Mac::local(number),
        };
        link::veth(at_middle, inside).unwrap();
        link::add_address(place, "eth0", &format!("{own}/24")).unwrap();
        let other_mac = Mac::local(3 - number);
        link::add_neighbour(place, "eth0", other.parse().unwrap(), other_mac).unwrap();
    }
    let relay = Relay::start(&middle, "side1", "side2", forward, backward).unwrap();
    Net {
        left,
        right,
        relay,
        middle,
    }
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

#[test]
fn tcp_with_segmentation_offload_passes_complete() {
    let net = net(Duration::ZERO, Duration::ZERO);
    let bytes = 64 << 20;
    let patience = Duration::from_secs(10);
    let arrived = traffic::tcp(&net.left, &net.right, address(RIGHT, 5001), bytes, patience);
    assert_eq!(arrived.unwrap(), bytes);

    let (forward, _) = net.relay.carried();
    assert!(
        forward.frames * 1500 < bytes,
        "no frame was larger than the MTU: {forward:?}"
    );
    let counted = || {
        let (forward, _) = net.relay.carried();
        let sent = InterfaceStatistics::read(&net.left, "eth0").unwrap();
        let received = InterfaceStatistics::read(&net.right, "eth0").unwrap();
        (
            (sent.tx_packets, sent.tx_bytes),
            (received.rx_packets + forward.dropped, received.rx_bytes),
        )
    };
    // The last acknowledgement may still be on its way.
    let began = Instant::now();
    let (mut sent, mut received) = counted();
    while sent != received && began.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(10));
        (sent, received) = counted();
    }
    assert_eq!(sent, received);
}

#[test]
fn every_datagram_arrives_and_is_counted() {
    let net = net(Duration::ZERO, Duration::ZERO);
    let arrived = traffic::udp(&net.left, &net.right, address(RIGHT, 5002), 1000, 100).unwrap();
    assert_eq!(arrived, 1000);
    let at_middle = InterfaceStatistics::read(&net.middle, "side1").unwrap();
    assert_eq!((at_middle.rx_packets, at_middle.rx_bytes), (1000, 142_000));
}

#[test]
fn an_idle_cable_carries_nothing() {
    let net = net(Duration::ZERO, Duration::ZERO);
    std::thread::sleep(Duration::from_millis(1500));
    let statistics = InterfaceStatistics::read(&net.left, "eth0").unwrap();
    assert_eq!(statistics, InterfaceStatistics::default());
}

#[test]
fn a_round_trip_takes_the_two_delays_and_little_more() {
    let net = net(Duration::from_millis(20), Duration::from_millis(30));
    let to: IpAddr = RIGHT.parse().unwrap();
    let started = Instant::now();
    traffic::ping(&net.left, to, 1, 56).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(50));

    net.relay.set_delays(Duration::ZERO, Duration::ZERO);
    let output = child::run(
        net.left
            .command("ping")
            .args(["-c", "5", "-i", "0.01", RIGHT]),
    );
    let output = output.unwrap();
    let shortest = output
        .rsplit_once("= ")
        .unwrap()
        .1
        .split('/')
        .next()
        .unwrap();
    assert!(shortest.parse::<f64>().unwrap() < 20.0, "{output}");
}

#[test]
fn a_vlan_tag_survives() {
    use std::{io::Read as _, process::Stdio};

    let net = net(Duration::ZERO, Duration::ZERO);
    let mut tcpdump = net
        .right
        .command(netmon_lab::programs::find("tcpdump").unwrap());
    tcpdump
        .args(["-i", "eth0", "-e", "-n", "-c", "1", "--immediate-mode"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut tcpdump =
        netmon_lab::Child::spawn("tcpdump", tcpdump, netmon_lab::Signal::SIGKILL).unwrap();
    // It says so when it listens.
    let mut said = [0; 512];
    let mut listening = String::new();
    while !listening.contains("listening on") {
        let length = tcpdump
            .pipes()
            .stderr
            .as_mut()
            .unwrap()
            .read(&mut said)
            .unwrap();
        assert_ne!(length, 0, "tcpdump ended: {listening}");
        listening.push_str(&String::from_utf8_lossy(&said[..length]));
    }

    let frame = tagged_frame();
    net.left
        .run_inside(|| {
            send_raw("eth0", &frame);
            Ok(())
        })
        .unwrap();
    let mut line = String::new();
    tcpdump
        .pipes()
        .stdout
        .as_mut()
        .unwrap()
        .read_to_string(&mut line)
        .unwrap();
    assert!(line.contains("vlan 100"), "{line}");
}

/// An ARP request for nobody, in VLAN 100.
fn tagged_frame() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(Mac::local(1).0);
    frame.extend([0x81, 0x00, 0x00, 100, 0x08, 0x06]);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(Mac::local(1).0);
    frame.extend([10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 10, 9, 0, 77]);
    frame.resize(64, 0);
    frame
}

fn send_raw(interface: &str, frame: &[u8]) {
    let name = std::ffi::CString::new(interface).unwrap();
    // SAFETY: every pointer is to a live value of the given length.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        let mut to: libc::sockaddr_ll = std::mem::zeroed();
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = libc::if_nametoindex(name.as_ptr()).cast_signed();
        let sent = libc::sendto(
            socket,
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of_val(&to) as libc::socklen_t,
        );
        libc::close(socket);
        assert_eq!(sent, frame.len().cast_signed());
    }
}

#[test]
fn programs_inside_see_the_interfaces_of_their_namespace() {
    let net = net(Duration::ZERO, Duration::ZERO);
    let listing = child::run(net.left.command("ls").arg("/sys/class/net")).unwrap();
    assert_eq!(
        listing.split_whitespace().collect::<Vec<_>>(),
        ["eth0", "lo"]
    );
    assert!(
        !Path::new("/sys/class/net/side1").exists(),
        "the host sees nothing of it"
    );
}

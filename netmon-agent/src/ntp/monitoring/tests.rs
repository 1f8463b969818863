use netmon_common::wire::NtpWish;

use super::*;
use crate::ntp::packet::example::{self, S};

const ETH0: Tap = Tap {
    namespace: 0,
    ifindex: 2,
};
const ETH1: Tap = Tap {
    namespace: 0,
    ifindex: 3,
};
const BLUE: Tap = Tap {
    namespace: 1,
    ifindex: 2,
};
const TAPS: [(Tap, &str); 3] = [(ETH0, "eth0"), (ETH1, "eth1"), (BLUE, "eth0@blue")];

/// A moment with the same number on both clocks.
fn at(ns: u64) -> Now {
    Now {
        monotonic_ns: ns,
        unix_ns: ns as i64,
    }
}

fn configured() -> Terms {
    Terms {
        ports: NtpPorts::default(),
        timeout: Duration::from_secs(5),
    }
}

fn wish(name: &str, monitored: bool, ports: &[u32], timeout_ms: u32) -> NtpWish {
    NtpWish {
        name: name.to_owned(),
        monitored,
        ports: ports.to_vec(),
        timeout_ms,
    }
}

fn wishes(interfaces: impl IntoIterator<Item = NtpWish>) -> Wishes {
    Wishes::parse(&NtpMonitoring {
        revision: 7,
        interfaces: interfaces.into_iter().collect(),
    })
}

/// Wishes put in force on all three interfaces.
fn monitoring(interfaces: impl IntoIterator<Item = NtpWish>) -> (Monitoring, Plan) {
    let mut monitoring = Monitoring::new(configured(), wishes(interfaces));
    let plan = monitoring.plan(TAPS);
    monitoring.adopt(&plan, at(1));
    (monitoring, plan)
}

fn ports(list: impl IntoIterator<Item = u16>) -> NtpPorts {
    NtpPorts::new(list).unwrap()
}

#[test]
fn nothing_wished_is_as_configured() {
    let (monitoring, plan) = monitoring([]);
    for (tap, _) in TAPS {
        assert_eq!(*monitoring.terms(tap), configured());
        assert_eq!(plan.ports(tap.namespace), Some(&NtpPorts::default()));
    }
    assert!(monitoring.exceptions.is_empty() && monitoring.timeouts().is_empty());
    assert_eq!(plan.ports(9), None);
}

#[test]
fn a_wish_is_of_one_interface_and_the_kernel_looks_for_all_ports_of_its_namespace() {
    let (monitoring, plan) = monitoring([
        wish("eth0", true, &[1123], 200),
        wish("eth0@blue", false, &[], 0),
    ]);
    assert_eq!(monitoring.terms(ETH0).ports, ports([1123]));
    assert_eq!(monitoring.terms(ETH0).timeout, Duration::from_millis(200));
    assert_eq!(*monitoring.terms(ETH1), configured());
    assert!(!monitoring.terms(BLUE).is_monitored());
    assert_eq!(plan.ports(0), Some(&ports([123, 1123])));
    assert_eq!(plan.ports(1), Some(&NtpPorts::NONE));
    let timeouts = HashMap::from([(ETH0, Duration::from_millis(200))]);
    assert_eq!(monitoring.timeouts(), timeouts);
}

#[test]
fn packets_that_are_not_looked_at_say_why() {
    let (monitoring, _) = monitoring([wish("eth0", false, &[], 0), wish("eth1", true, &[1123], 0)]);
    let admitted = |tap: Tap| {
        let mut packet = example::packet(netmon_common::ntp::Mode::Client, S);
        (packet.scope.namespace, packet.scope.ifindex) = (tap.namespace, tap.ifindex);
        monitoring.admit(&packet.decoded())
    };
    assert_eq!(admitted(ETH0), Err(Unwanted::NotMonitored));
    assert_eq!(admitted(ETH1), Err(Unwanted::OtherPort));
    assert_eq!(admitted(BLUE), Ok(()));
}

#[test]
fn ports_that_the_kernel_has_no_room_for_are_left_out_after_the_configured_one() {
    let many: Vec<u32> = (1001..=1008).collect();
    let (monitoring, plan) = monitoring([wish("eth0", true, &many, 0)]);
    assert_eq!(monitoring.terms(ETH0).ports, ports(1001..=1007));
    assert_eq!(*monitoring.terms(ETH1), configured());
    assert_eq!(plan.ports(0).unwrap().len(), NtpPorts::MAX);
    assert_eq!(plan.crowded(), ["eth0"]);
}

#[test]
fn only_what_changes_is_begun_or_left_out() {
    let (mut monitoring, plan) = monitoring([]);
    assert!(!monitoring.differs(&plan));
    // Stopped, started on another port, on both, and as configured.
    let turns: [(NtpWish, bool, &[Tap]); 4] = [
        (wish("eth0", false, &[], 0), true, &[]),
        (wish("eth0", true, &[1123], 0), false, &[ETH0]),
        (wish("eth0", true, &[123, 1123], 0), false, &[ETH0]),
        (wish("eth0", true, &[], 0), true, &[]),
    ];
    for (turn, (wished, narrows, begun)) in turns.into_iter().enumerate() {
        monitoring.wish(wishes([wished.clone()]));
        let plan = monitoring.plan(TAPS);
        assert!(monitoring.differs(&plan), "{wished:?}");
        assert_eq!(monitoring.is_narrowed_by(&plan), narrows, "{wished:?}");
        let now = at(10 + turn as u64);
        assert_eq!(monitoring.adopt(&plan, now), begun, "{wished:?}");
    }
    assert!(monitoring.exceptions.is_empty());
    let (eth0, eth1) = (monitoring.message(ETH0), monitoring.message(ETH1));
    let since = |state: Option<wire::NtpState>| state.unwrap().since_unix_ns;
    assert_eq!((since(eth0), since(eth1)), (13, 1));
}

#[test]
fn a_start_does_not_reach_back_to_packets_that_come_only_now() {
    let (mut monitoring, _) = monitoring([wish("eth0", false, &[], 0)]);
    monitoring.wish(wishes([]));
    let plan = monitoring.plan(TAPS);
    assert_eq!(monitoring.adopt(&plan, at(1000)), [ETH0]);
    let admitted = |tap: Tap, captured_at_ns| {
        let mut packet = example::packet(netmon_common::ntp::Mode::Client, captured_at_ns);
        (packet.scope.namespace, packet.scope.ifindex) = (tap.namespace, tap.ifindex);
        monitoring.admit(&packet.decoded())
    };
    assert_eq!(admitted(ETH0, 999), Err(Unwanted::NotMonitored));
    assert_eq!(admitted(ETH0, 1000), Ok(()));
    // What was looked at all the time, and what the agent has not known before.
    assert_eq!(admitted(ETH1, 999), Ok(()));
    let new = Tap { ifindex: 9, ..ETH0 };
    assert_eq!(admitted(new, 999), Ok(()));
}

#[test]
fn an_interface_that_is_gone_keeps_its_terms_for_what_is_on_its_way() {
    let (mut monitoring, _) = monitoring([wish("eth0", false, &[], 0)]);
    let plan = monitoring.plan([TAPS[1]]);
    monitoring.adopt(&plan, at(2));
    assert!(!monitoring.terms(ETH0).is_monitored());
    for ifindex in 0..2 * MAX_GONE as u32 {
        let tap = Tap {
            namespace: 0,
            ifindex: 100 + ifindex,
        };
        let plan = monitoring.plan([(tap, "veth")]);
        monitoring.adopt(&plan, at(3));
        assert!(monitoring.standing.len() <= MAX_GONE + 2);
    }
}

#[test]
fn a_wish_beyond_what_an_agent_can_do_is_the_nearest_that_it_can() {
    let (monitoring, _) = monitoring([
        wish("eth0", true, &[70_000, 123], 90_000),
        wish("eth1", true, &[0], 1),
    ]);
    for (tap, timeout_ms) in [(ETH0, 60_000), (ETH1, 100)] {
        let terms = monitoring.terms(tap);
        assert_eq!(terms.ports, configured().ports);
        assert_eq!(terms.timeout, Duration::from_millis(timeout_ms));
    }
    let many = (0..2000).map(|n| wish(&format!("veth{n}"), false, &[], 0));
    assert_eq!(wishes(many).stopped().len(), wire::MAX_NTP_WISHES);
}

#[test]
fn a_start_on_an_agent_without_ports_looks_for_ntps_own() {
    let nothing = Terms {
        ports: NtpPorts::NONE,
        ..configured()
    };
    let wishes = wishes([wish("eth0", true, &[], 0)]);
    assert_eq!(wishes.terms("eth0", nothing), configured());
    assert_eq!(wishes.terms("eth1", nothing), nothing);
}

#[test]
fn the_server_is_told_what_is_in_force_and_by_which_wishes() {
    let (monitoring, _) = monitoring([wish("eth0", true, &[123, 1123], 2500)]);
    let expected = wire::NtpState {
        monitored: true,
        ports: vec![123, 1123],
        timeout_ms: 2500,
        revision: 7,
        since_unix_ns: 1,
    };
    assert_eq!(monitoring.message(ETH0), Some(expected));
    let unknown = Tap {
        namespace: 9,
        ifindex: 9,
    };
    assert_eq!(monitoring.message(unknown), None);
}

#[test]
fn the_longest_wishes_there_may_be_fit_the_control_stream() {
    use prost::Message as _;
    let names = (0..wire::MAX_NTP_WISHES).map(|n| format!("{n:x>45}"));
    let longest = wire::Downlink {
        message: Some(wire::downlink::Message::NtpMonitoring(NtpMonitoring {
            revision: u64::MAX,
            interfaces: names
                .map(|name| wish(&name, true, &[65_535; NtpPorts::MAX], 60_000))
                .collect(),
        })),
    };
    let octets = longest.encoded_len();
    assert!(octets <= wire::MAX_CONTROL_BYTES, "{octets}");
}

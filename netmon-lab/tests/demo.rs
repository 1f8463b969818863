//! The demonstration network: chrony measures what the relay does, and nothing is left behind.

use std::{path::Path, process::Stdio, time::Duration};

use netmon_lab::{
    Child, DemoNet, InterfaceStatistics, Namespace, Signal,
    demo::{CLIENT_SIDE, DemoOptions, SERVER_SIDE},
    wait_until,
};

#[test]
fn chrony_measures_the_delays_of_the_relay() {
    let host = Namespace::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let demo = DemoNet::start(&host, directory.path(), &DemoOptions::default()).unwrap();
    let measurements = demo.client().wait_for(8, Duration::from_secs(30)).unwrap();

    let measured = &measurements[0];
    assert_eq!((measured.stratum, measured.leap), (3, 'N'));
    assert_eq!(measured.server.to_string(), "198.18.0.1");
    // Both ends share one clock: what chrony takes for an offset is half the difference of the
    // delays, (3 - 7) / 2 ms. The median, since a busy machine delays single packets.
    let mut offsets: Vec<f64> = measurements.iter().map(|one| one.offset).collect();
    offsets.sort_by(f64::total_cmp);
    let offset_ms = offsets[offsets.len() / 2] * 1e3;
    assert!(
        (offset_ms + 2.0).abs() < 1.0,
        "{offset_ms} ms: {measurements:#?}"
    );
    assert!(
        measurements.iter().all(|one| one.delay >= 0.010),
        "{measurements:?}"
    );

    // Each request and each response passes the host's ends once.
    let (requests, responses) = demo.relay().carried();
    let at_host = InterfaceStatistics::read(&host, CLIENT_SIDE).unwrap();
    assert!(at_host.rx_packets >= requests.frames && requests.frames >= responses.frames);
    assert!(responses.frames >= measurements.len() as u64);
}

#[test]
fn a_demonstration_leaves_no_interface_in_the_host() {
    let host = Namespace::new().unwrap();
    let options = DemoOptions::default();
    // Twice, since the second must find the names free.
    for _ in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let demo = DemoNet::start(&host, directory.path(), &options).unwrap();
        let chronyd = [demo.client().id(), demo.server().id()];
        drop(demo);
        assert!(interfaces(&host).iter().all(|name| name == "lo"));
        for id in chronyd {
            assert!(!Path::new(&format!("/proc/{id}")).exists());
        }
    }
}

/// Not a test of its own: what the next test kills.
#[test]
fn hold_a_demonstration_until_killed() {
    let Ok(directory) = std::env::var("NETMON_LAB_HOLD") else {
        return;
    };
    let host = Namespace::host().unwrap();
    let demo = DemoNet::start(&host, Path::new(&directory), &DemoOptions::default()).unwrap();
    let ids = format!("{} {}\n", demo.client().id(), demo.server().id());
    std::fs::write(Path::new(&directory).join("ready"), ids).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn killing_the_process_leaves_neither_program_nor_interface() {
    let host = Namespace::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut command = host.command(std::env::current_exe().unwrap());
    command
        .args(["--exact", "hold_a_demonstration_until_killed"])
        .env("NETMON_LAB_HOLD", directory.path())
        .stdout(Stdio::null());
    let mut holder = Child::spawn("holder", command, Signal::SIGKILL).unwrap();
    let ready = directory.path().join("ready");
    let ids = wait_until(Duration::from_secs(20), "the demonstration", || {
        std::fs::read_to_string(&ready)
            .ok()
            .filter(|text| text.ends_with('\n'))
    })
    .unwrap();
    assert!(interfaces(&host).contains(&SERVER_SIDE.to_owned()));

    holder.kill().unwrap();
    wait_until(Duration::from_secs(10), "everything to vanish", || {
        let gone = ids.split_whitespace().all(has_ended);
        (gone && interfaces(&host).iter().all(|name| name == "lo")).then_some(())
    })
    .unwrap();
}

/// Ended, or waiting for an init process that does not care.
fn has_ended(id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).map_or(true, |stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
}

fn interfaces(host: &Namespace) -> Vec<String> {
    host.run_inside(|| {
        Ok(std::fs::read_dir("/sys/class/net")?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect())
    })
    .unwrap()
}

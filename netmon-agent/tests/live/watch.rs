//! The watch list: what is on it is told of, also while a million entries are replaced.

use std::{
    fs,
    io::{BufWriter, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use netmon_lab::{Namespace, frames, traffic, wait_until};

use crate::{
    flows::{HERE, PATIENCE, balanced, many_flows, site_with, sum},
    site::Site,
};

/// Tells an agent of a list that is not written yet.
pub fn listed(site: &mut Site) -> PathBuf {
    let list = site.path("watch.txt");
    let path: &'static str = Box::leak(list.display().to_string().into_boxed_str());
    site.agent_environment
        .push(("NETMON_AGENT__WATCH__FILE", path));
    list
}

#[test]
fn a_watch_list_is_in_force_at_once_when_its_file_changes() -> Result<()> {
    let (mut site, peer) = site_with(&[])?;
    let list = listed(&mut site);
    fs::write(&list, "# nobody here\n203.0.113.0/24\n2001:db8::/32\n")?;
    site.start_agent(&[])?;
    assert_eq!(sum(&site, "watch_entries", "")?, 2);
    many_flows(&peer, &site, 3)?;
    balanced(&site, 9)?;
    assert_eq!(sum(&site, "watch_hits_total", "")?, 0);

    fs::write(&list, "198.18.0.2 # the peer\n")?;
    wait_until(PATIENCE, "the new list to be in force", || {
        (sum(&site, "watch_entries", "").ok()? == 1).then_some(())
    })?;
    let to = SocketAddr::new(HERE.parse()?, 30_000);
    traffic::udp(&peer, &site.namespace, to, 3, 100)?;
    wait_until(PATIENCE, "a hit", || {
        (sum(&site, "watch_hits_total", "").ok()? >= 1).then_some(())
    })?;

    fs::write(&list, "198.18.0.2\nnobody\n")?;
    wait_until(PATIENCE, "the wrong list to be refused", || {
        let failed = sum(&site, "watch_reloads_total", "failed").ok()?;
        (failed == 1).then_some(())
    })?;
    assert_eq!(sum(&site, "watch_entries", "")?, 1);
    let log = site.log("agent.log");
    assert!(log.contains("line 2"), "{log}");
    site.stop_agent()
}

/// Entries of each kind: every second address, or every second prefix, from a start on.
const HOSTS4: u32 = 600_000;
const NETS4: u32 = 100_000;
const HOSTS6: u32 = 300_000;
const ENTRIES: u64 = HOSTS4 as u64 + NETS4 as u64 + HOSTS6 as u64;

/// Two lists that have nothing in common, entry beside entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Even,
    Odd,
}

fn host4(number: u32, half: Half) -> Ipv4Addr {
    let start = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    (start + 2 * number + half as u32).into()
}

/// The first address of a prefix of 28 bits.
fn net4(number: u32, half: Half) -> Ipv4Addr {
    let start = u32::from(Ipv4Addr::new(12, 0, 0, 0));
    (start + 16 * (2 * number + half as u32)).into()
}

fn host6(number: u32, half: Half) -> Ipv6Addr {
    let start = u128::from(Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0, 0, 0));
    (start + u128::from(2 * number + half as u32)).into()
}

/// Writes a million entries, whole at once.
fn write_list(path: &Path, half: Half) -> Result<()> {
    let beside = path.with_extension("new");
    let mut file = BufWriter::new(fs::File::create(&beside)?);
    for number in 0..HOSTS4 {
        writeln!(file, "{}", host4(number, half))?;
    }
    for number in 0..NETS4 {
        writeln!(file, "{}/28", net4(number, half))?;
    }
    for number in 0..HOSTS6 {
        writeln!(file, "{}", host6(number, half))?;
    }
    file.flush()?;
    Ok(fs::rename(beside, path)?)
}

fn from4(source: Ipv4Addr, port: u16) -> Vec<u8> {
    let packet = frames::ipv4(17, 0, 0, &frames::udp(port, 9, &[0; 20]));
    let mut frame = frames::ethernet(&[], 0x0800, &packet);
    frame[26..30].copy_from_slice(&source.octets());
    frame
}

fn from6(source: Ipv6Addr, port: u16) -> Vec<u8> {
    let packet = frames::ipv6(&[], 17, &frames::udp(port, 9, &[0; 20]));
    let mut frame = frames::ethernet(&[], 0x86dd, &packet);
    frame[22..38].copy_from_slice(&source.octets());
    frame
}

/// Flows from entries of one list, all over it, that have not been there before.
fn probes(half: Half, port: u16) -> Vec<Vec<u8>> {
    const EACH: u32 = 100;
    let spread = |of: u32| (0..EACH).map(move |sample| sample * (of - 1) / (EACH - 1));
    let hosts = spread(HOSTS4).map(|number| from4(host4(number, half), port));
    // Somewhere within.
    let within = |number: u32| Ipv4Addr::from(u32::from(net4(number, half)) + number % 16);
    let nets = spread(NETS4).map(|number| from4(within(number), port));
    let hosts6 = spread(HOSTS6).map(|number| from6(host6(number, half), port));
    hosts.chain(nets).chain(hosts6).collect()
}

/// New flows that the kernel told of so far, and how many of them were hits: both are counted from the
/// same events.
fn told(site: &Site) -> Result<(u64, u64)> {
    Ok((
        sum(site, "flow_events_total", "kind=\"new\"")?,
        sum(site, "watch_hits_total", "")?,
    ))
}

/// Waits for so many flows more; gives the hits among them.
fn hits_among(site: &Site, before: (u64, u64), flows: u64) -> Result<u64> {
    let told = wait_until(PATIENCE, "the flows to be told of", || {
        let now = told(site).ok()?;
        (now.0 >= before.0 + flows).then_some(now)
    })?;
    assert_eq!(told.0, before.0 + flows, "each is told of once");
    assert_eq!(sum(site, "flow_events_lost_total", "")?, 0);
    // The number of flows was read first.
    Ok(sum(site, "watch_hits_total", "")? - before.1)
}

/// Sends flows of both lists: those of one and no others must be hits.
fn only_hits(site: &Site, peer: &Namespace, half: Half, port: u16) -> Result<()> {
    let before = told(site)?;
    let all = [probes(Half::Even, port), probes(Half::Odd, port)];
    for frames in &all {
        traffic::frames(peer, "nm-b", frames, 0)?;
    }
    let sent = (all[0].len() + all[1].len()) as u64;
    let hits = hits_among(site, before, sent)?;
    assert_eq!(hits, all[half as usize].len() as u64, "{half:?}");
    balanced(site, sent)
}

/// The most the agent has had in memory, KiB.
pub fn peak_memory(site: &Site) -> Result<u64> {
    let id = site.agent.as_ref().context("an agent runs")?.id();
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(number.context("no VmHWM")?.trim().parse()?)
}

/// What the kernel says that the agent's tries take, octets.
fn kernel_memory(site: &Site) -> Result<u64> {
    const LPM_TRIE: &str = "map_type:\t11";
    let id = site.agent.as_ref().context("an agent runs")?.id();
    let mut octets = 0;
    for entry in fs::read_dir(format!("/proc/{id}/fdinfo"))? {
        // Descriptors come and go.
        let Ok(info) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        if info.lines().any(|line| line == LPM_TRIE) {
            let memory = info.lines().find_map(|line| line.strip_prefix("memlock:"));
            octets += memory.context("no memlock")?.trim().parse::<u64>()?;
        }
    }
    Ok(octets)
}

#[test]
fn a_million_entries_are_loaded_hit_and_replaced_under_traffic() -> Result<()> {
    const MOST_KIB: u64 = 192 << 10;
    const MOST_KERNEL_BYTES: u64 = 128 * ENTRIES;
    let (mut site, peer) = site_with(&[])?;
    let list = listed(&mut site);
    write_list(&list, Half::Even)?;
    let started = Instant::now();
    site.start_agent(&["--include", "nm-a"])?;
    println!("connected {:?} after the start", started.elapsed());
    assert_eq!(sum(&site, "watch_entries", "")?, ENTRIES);
    only_hits(&site, &peer, Half::Even, 20_000)?;

    let before = told(&site)?;
    write_list(&list, Half::Odd)?;
    let (mut pairs, started) = (0, Instant::now());
    while sum(&site, "watch_reloads_total", "used")? < 2 {
        ensure!(started.elapsed() < 2 * PATIENCE, site.log("agent.log"));
        let number = pairs % HOSTS4;
        let port = 21_000 + (pairs / HOSTS4) as u16;
        // One of the two is on the list that is in force, whichever it is.
        let pair = [Half::Even, Half::Odd].map(|half| from4(host4(number, half), port));
        traffic::frames(&peer, "nm-b", &pair, 0)?;
        pairs += 1;
    }
    println!(
        "replaced {:?} after it was written, while {pairs} pairs of flows began",
        started.elapsed()
    );
    let hits = hits_among(&site, before, 2 * u64::from(pairs))?;
    // Between the two of one pair the list may have changed.
    assert!(
        hits.abs_diff(pairs.into()) <= 1,
        "{hits} of {pairs}: never both lists, never none"
    );
    assert_eq!(sum(&site, "watch_entries", "")?, ENTRIES);
    only_hits(&site, &peer, Half::Odd, 30_000)?;

    let (kib, octets) = (peak_memory(&site)?, kernel_memory(&site)?);
    println!("agent: at most {kib} KiB; kernel: {octets} octets for {ENTRIES} entries");
    assert!(kib <= MOST_KIB, "{kib} KiB");
    assert!(octets <= MOST_KERNEL_BYTES, "{octets} octets in the kernel");
    site.stop_agent()
}

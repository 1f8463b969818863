//! A disk without room, for real: a small file system in a mount namespace of its own.

use std::{fs, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::*;

/// Runs `work` on a tmpfs of so many bytes that only its thread sees.
fn on_a_small_disk(bytes: u64, work: impl FnOnce(&Path) + Send) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    thread::scope(|scope| {
        let run = scope.spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS).expect("run as root");
            let nothing: Option<&str> = None;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(nothing, "/", nothing, private, nothing).unwrap();
            let size = format!("size={bytes}");
            let tmpfs = Some("tmpfs");
            mount(tmpfs, path, tmpfs, MsFlags::empty(), Some(size.as_str())).unwrap();
            work(path);
        });
        run.join().unwrap();
    });
}

fn fill(path: &Path) {
    let mut bytes = 1 << 20;
    while bytes > 0 {
        let name = path.join(format!("filler-{bytes}"));
        let chunk = vec![1; bytes];
        if fs::write(&name, &chunk).is_err() {
            bytes /= 2;
        } else {
            fs::rename(
                &name,
                path.join(format!("filler-{}", rand::random::<u64>())),
            )
            .unwrap();
        }
    }
}

fn free(path: &Path) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("filler") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn what_a_full_disk_does_not_take_is_kept_in_memory_and_written_later() {
    on_a_small_disk(4 << 20, |path| {
        let mut server = Server::default();
        let (mut agent, _) = Agent::open(path, CAPS, 1);
        agent.push_frame(10);
        agent.push_exchange(5000);
        fill(path);
        for _ in 0..20 {
            agent.push_frame(10);
            agent.push_exchange(5000);
        }
        let status = agent.keeper.status();
        assert!(
            status.write_errors > 0 && status.in_memory > 20,
            "{status:?}"
        );
        assert_eq!(status.waiting.0, 42);
        free(path);
        agent.pass(Duration::from_secs(11));
        agent.turn();
        assert_eq!(
            agent.keeper.status().in_memory,
            0,
            "the disk takes it again"
        );
        drop(agent);
        let (mut agent, recovered) = Agent::open(path, CAPS, 2);
        assert_eq!((recovered.batches, recovered.corrupt), (42, 0));
        assert_eq!(agent.packets, 210);
        agent.deliver(&mut server);
        assert_eq!(server.packets(), 210);
        server.audit();
    });
}

#[test]
fn what_was_only_in_memory_when_the_process_died_is_reported_lost_and_doubles_nothing() {
    on_a_small_disk(4 << 20, |path| {
        let mut server = Server::default();
        let (mut agent, _) = Agent::open(path, CAPS, 1);
        agent.push_frame(10);
        agent.push_exchange(10);
        fill(path);
        for _ in 0..5 {
            agent.push_frame(10);
            agent.push_exchange(5000);
        }
        // Some of it is delivered before the crash: the next agent must not count it again.
        agent.keeper.connect(agent.now, MAX_STREAM_BATCHES);
        agent.exchange_with(&mut server, 6);
        drop(agent);
        let (mut agent, recovered) = Agent::open(path, CAPS, 2);
        assert_eq!(recovered.checkpoint[&ATTACHMENT].0.ingress.packets, 60);
        agent.push_frame(1);
        agent.deliver(&mut server);
        let stored = server.stored(1, Kind::Exchanges);
        let omitted = (1..=6).filter(|n| server.is_omitted((1, Kind::Exchanges as i32), *n));
        assert!(stored.len() + omitted.count() >= 6, "{stored:?}");
        server.audit();
    });
}

#[test]
fn a_full_disk_gives_up_exchanges_so_that_bandwidth_finds_room() {
    on_a_small_disk(4 << 20, |path| {
        let caps = Caps {
            memory_bytes: 300_000,
            segment_bytes: 200_000,
            ..CAPS
        };
        let mut server = Server::default();
        let (mut agent, _) = Agent::open(path, caps, 1);
        for _ in 0..300 {
            agent.push_exchange(20_000);
        }
        for _ in 0..3000 {
            agent.push_frame(1);
        }
        assert_eq!(agent.omitted(Kind::Bandwidth), 0);
        assert!(agent.omitted(Kind::Exchanges) > 100);
        assert!(
            agent.keeper.status().in_memory < 20,
            "{:?}",
            agent.keeper.status()
        );
        agent.deliver(&mut server);
        assert_eq!(server.packets(), 3000);
        server.audit();
    });
}

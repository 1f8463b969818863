//! A run after another.

use super::*;
use crate::spool::{record, recovery::Previous};

#[test]
fn what_waits_survives_a_restart_in_order_and_what_is_settled_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::default();
    let (mut agent, recovered) = Agent::open(dir.path(), CAPS, 1);
    assert!(recovered.previous.is_none());
    for _ in 0..4 {
        agent.push_frame(10);
        agent.push_exchange(10);
    }
    agent.keeper.connect(agent.now, MAX_STREAM_BATCHES);
    agent.exchange_with(&mut server, 3);
    agent.stop();
    let (mut agent, recovered) = Agent::open(dir.path(), CAPS, 2);
    assert!(
        recovered
            .previous
            .is_some_and(|run| run.clean && run.epoch == 1)
    );
    assert_eq!(recovered.batches, 6, "eight, and a last report, less three");
    agent.push_frame(10);
    agent.deliver(&mut server);
    assert_eq!(server.duplicates, 0, "the state file knew what was settled");
    let kind = Kind::Bandwidth as i32;
    let of_kind = server.arrivals.iter().filter(|((_, k), _)| *k == kind);
    let order: Vec<_> = of_kind
        .map(|((epoch, _), sequence)| (*epoch, *sequence))
        .collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(server.packets(), 50);
    server.audit();
}

#[test]
fn the_next_run_counts_on_from_the_last_sealed_frame() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
        agent.push_frame(10);
        agent.push_frame(5);
        let ended = agent.now.unix_ns;
        if clean {
            agent.stop();
        } else {
            drop(agent);
        }
        let (_, recovered) = Agent::open(dir.path(), CAPS, 2);
        let (totals, at) = recovered.checkpoint[&ATTACHMENT];
        assert_eq!(
            (totals.ingress.packets, at.unix_ns),
            (15, ended),
            "clean: {clean}"
        );
        let previous = Previous {
            epoch: 1,
            clean,
            ended: at,
        };
        assert_eq!(recovered.previous, Some(previous));
    }
}

#[test]
fn the_checkpoint_outlives_the_segments_it_was_in() {
    let dir = tempfile::tempdir().unwrap();
    let caps = Caps {
        segment_bytes: 1,
        ..CAPS
    };
    let mut server = Server::default();
    let (mut agent, _) = Agent::open(dir.path(), caps, 1);
    for _ in 0..3 {
        agent.push_frame(10);
    }
    agent.deliver(&mut server);
    drop(agent);
    // Two runs without a frame in between.
    drop(Agent::open(dir.path(), caps, 2));
    let (agent, recovered) = Agent::open(dir.path(), caps, 3);
    assert_eq!(recovered.checkpoint[&ATTACHMENT].0.ingress.packets, 30);
    assert_eq!(agent.packets, 30);
}

#[test]
fn an_attachment_that_is_gone_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    agent.push_frame(10);
    agent.intake.forget_attachment(ATTACHMENT.0, ATTACHMENT.1);
    agent.stop();
    let (_, recovered) = Agent::open(dir.path(), CAPS, 2);
    assert!(recovered.checkpoint.is_empty());
}

#[test]
fn a_second_agent_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let (_agent, _) = Agent::open(dir.path(), CAPS, 1);
    let refused = Agent::try_open(Some(dir.path()), CAPS, 2).err().unwrap();
    assert!(refused.to_string().contains("another agent"), "{refused}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named_with_its_key() {
    let refused = Agent::try_open(Some(Path::new("/proc/spool")), CAPS, 1)
        .err()
        .unwrap();
    let text = refused.to_string();
    assert!(
        text.contains("/proc/spool") && text.contains("spool.directory"),
        "{text}"
    );
}

#[test]
fn the_directory_is_its_owners_alone_and_foreign_files_stay() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/spool");
    drop(Agent::open(&path, CAPS, 1));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for foreign in [
        "notes.txt",
        "exchanges-1-0.seg",
        "exchanges-x-1.seg",
        "a-1-1.seg",
    ] {
        std::fs::write(path.join(foreign), "mine").unwrap();
    }
    let (agent, _) = Agent::open(&path, CAPS, 2);
    agent.stop();
    assert_eq!(std::fs::read(path.join("notes.txt")).unwrap(), b"mine");
    assert_eq!(
        std::fs::read_dir(&path).unwrap().count(),
        2 + 4 + 1,
        "lock, state, one segment"
    );
}

#[test]
fn a_spool_of_a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    agent.push_frame(1);
    drop(agent);
    let segment = dir.path().join("bandwidth-1-1.seg");
    let mut data = std::fs::read(&segment).unwrap();
    data[8] = record::VERSION as u8 + 1;
    let checksum = crc32fast::hash(&data[..36]);
    data[36..40].copy_from_slice(&checksum.to_le_bytes());
    std::fs::write(&segment, data).unwrap();
    let refused = Agent::try_open(Some(dir.path()), CAPS, 2).err().unwrap();
    assert!(refused.to_string().contains("newer agent"), "{refused}");
}

#[test]
fn what_a_server_has_beyond_the_disk_shows_what_the_disk_has_lost() {
    // Power failed: the server has batch 3, the disk has 1, and 2 is nowhere.
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::default();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    agent.push_exchange(10);
    let kept = std::fs::read(dir.path().join("exchanges-1-1.seg")).unwrap();
    agent.push_exchange(10);
    agent.push_exchange(10);
    agent.keeper.connect(agent.now, MAX_STREAM_BATCHES);
    let messages: Vec<_> = std::iter::from_fn(|| agent.keeper.next_to_send(agent.now)).collect();
    server.receive(&messages[2]);
    drop(agent);
    std::fs::write(dir.path().join("exchanges-1-1.seg"), kept).unwrap();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 2);
    agent.keeper.connect(agent.now, MAX_STREAM_BATCHES);
    // The server's answer to the Hello.
    let answer = netmon_common::wire::Acknowledgement {
        epoch: 1,
        kind: Kind::Exchanges.into(),
        sequences: vec![3],
        settled_through: 0,
    };
    agent.keeper.acknowledged(agent.now, &answer);
    agent.deliver(&mut server);
    assert_eq!(server.stored(1, Kind::Exchanges), [1, 3]);
    assert!(server.is_omitted((1, Kind::Exchanges as i32), 2));
    assert_eq!(server.streams[&(1, Kind::Exchanges as i32)], (3, 3));
}

//! A disk that lost the end of a file, or flipped a bit.

use std::fs;

use super::*;

/// A directory with one segment of three exchanges, its bytes, and where records end in it.
fn three() -> (tempfile::TempDir, Vec<u8>, Vec<usize>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    let segment = dir.path().join("exchanges-1-1.seg");
    let mut ends = vec![crate::spool::record::SEGMENT_HEADER];
    for bytes in [5, 25, 12] {
        agent.push_exchange(bytes);
        ends.push(fs::metadata(&segment).unwrap().len() as usize);
    }
    drop(agent);
    let data = fs::read(&segment).unwrap();
    (dir, data, ends)
}

/// The directory with other bytes in its segment.
fn with(original: &tempfile::TempDir, data: &[u8]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(original.path().join("state"), copy.path().join("state")).unwrap();
    fs::write(copy.path().join("exchanges-1-1.seg"), data).unwrap();
    copy
}

#[test]
fn a_file_cut_at_any_byte_keeps_every_whole_record_and_is_appended_to_again() {
    let (original, data, ends) = three();
    for cut in 0..=data.len() {
        let whole = ends.iter().skip(1).filter(|end| **end <= cut).count() as u64;
        let dir = with(&original, &data[..cut]);
        let mut server = Server::default();
        let (mut agent, recovered) = Agent::open(dir.path(), CAPS, 2);
        assert_eq!(recovered.batches, whole, "cut at {cut}");
        assert_eq!(
            recovered.corrupt, 0,
            "cut at {cut}: a torn write is no damage"
        );
        agent.push_exchange(9);
        drop(agent);
        let (mut agent, recovered) = Agent::open(dir.path(), CAPS, 3);
        assert_eq!(recovered.batches, whole + 1, "cut at {cut}");
        agent.deliver(&mut server);
        assert_eq!(
            server.stored(1, Kind::Exchanges),
            (1..=whole).collect::<Vec<_>>()
        );
        assert_eq!(server.stored(2, Kind::Exchanges), [1]);
        server.audit();
    }
}

#[test]
fn a_flipped_bit_costs_the_record_it_hits_and_is_reported() {
    let (original, data, ends) = three();
    for bit in 0..data.len() * 8 {
        let mut damaged = data.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let dir = with(&original, &damaged);
        let hit = ends.iter().filter(|end| **end <= bit / 8).count() as u64;
        let left: Vec<_> = (1..=3).filter(|sequence| *sequence != hit).collect();
        let mut server = Server::default();
        let (mut agent, recovered) = Agent::open(dir.path(), CAPS, 2);
        assert_eq!(recovered.corrupt, u64::from(hit > 0), "bit {bit}");
        agent.deliver(&mut server);
        assert_eq!(server.stored(1, Kind::Exchanges), left, "bit {bit}");
        assert_eq!(
            server.is_omitted((1, Kind::Exchanges as i32), hit),
            hit > 0,
            "bit {bit}"
        );
        server.audit();
    }
}

#[test]
fn damage_that_comes_after_the_start_is_found_before_sending() {
    let (original, data, ends) = three();
    let dir = with(&original, &data);
    let mut server = Server::default();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 2);
    let mut damaged = data;
    damaged[ends[2] - 1] ^= 1;
    fs::write(dir.path().join("exchanges-1-1.seg"), damaged).unwrap();
    agent.deliver(&mut server);
    assert_eq!(server.stored(1, Kind::Exchanges), [1, 3]);
    assert!(server.is_omitted((1, Kind::Exchanges as i32), 2));
    assert_eq!(agent.omitted(Kind::Exchanges), 1);
    server.audit();
}

#[test]
fn a_segment_that_vanishes_is_reported_whole() {
    let (original, data, _) = three();
    let dir = with(&original, &data);
    let mut server = Server::default();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 2);
    fs::remove_file(dir.path().join("exchanges-1-1.seg")).unwrap();
    agent.deliver(&mut server);
    assert_eq!(server.stored(1, Kind::Exchanges), [0; 0]);
    assert_eq!(agent.omitted(Kind::Exchanges), 3);
    server.audit();
}

#[test]
fn totals_are_not_trusted_when_the_last_frame_may_be_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    agent.push_frame(10);
    agent.push_frame(10);
    drop(agent);
    let segment = dir.path().join("bandwidth-1-1.seg");
    let mut data = fs::read(&segment).unwrap();
    let last = data.len() - 1;
    data[last] ^= 1;
    fs::write(&segment, data).unwrap();
    let (_, recovered) = Agent::open(dir.path(), CAPS, 2);
    assert_eq!(recovered.corrupt, 1);
    assert!(recovered.checkpoint.is_empty(), "it may have been sent");
}

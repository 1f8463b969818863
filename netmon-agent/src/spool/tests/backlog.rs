//! Much that waits: what goes first, what stays, and what its index costs.

use super::*;
use crate::spool::{rank, segment::Backing};

#[test]
fn the_oldest_of_the_least_valuable_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let caps = Caps {
        disk_bytes: 40 * 4096,
        segment_bytes: 3500,
        ..CAPS
    };
    let mut server = Server::default();
    let (mut agent, _) = Agent::open(dir.path(), caps, 1);
    for _ in 0..20 {
        agent.push_frame(1);
        agent.push_system();
        for _ in 0..10 {
            agent.push_exchange(1000);
        }
    }
    assert!(agent.omitted(Kind::Exchanges) > 0);
    assert_eq!(
        (agent.omitted(Kind::System), agent.omitted(Kind::Bandwidth)),
        (0, 0)
    );
    for _ in 0..3000 {
        agent.push_system();
    }
    let exchanges = agent.keeper.book().tally().omitted_records[rank(Kind::Exchanges)];
    assert_eq!(
        exchanges.iter().sum::<u64>(),
        200,
        "all of them, before any of system"
    );
    assert!(agent.omitted(Kind::System) > 0);
    assert_eq!(agent.omitted(Kind::Bandwidth), 0);
    for _ in 0..3000 {
        agent.push_frame(1);
    }
    assert!(agent.omitted(Kind::Bandwidth) > 0, "nothing else was left");
    assert!(agent.keeper.book().bytes_in(Backing::File) <= caps.disk_bytes);
    let kept = agent.keeper.status().waiting.0;
    agent.deliver(&mut server);
    assert_eq!(
        server.arrivals.len() as u64,
        kept + 2,
        "and two that only report"
    );
    server.audit();
}

#[test]
fn without_a_disk_memory_is_the_bound() {
    let caps = Caps {
        memory_bytes: 100_000,
        segment_bytes: 10_000,
        ..CAPS
    };
    let mut server = Server::default();
    let (mut agent, _) = Agent::try_open(None, caps, 1).unwrap();
    for _ in 0..50 {
        agent.push_frame(1);
        for _ in 0..10 {
            agent.push_exchange(1000);
        }
    }
    let status = agent.keeper.status();
    assert!(status.waiting.1 <= 100_000, "{status:?}");
    assert_eq!(agent.omitted(Kind::Bandwidth), 0);
    let kept = status.waiting.0;
    agent.deliver(&mut server);
    assert_eq!(server.packets(), 50);
    assert_eq!(
        server.arrivals.len() as u64,
        kept + 2,
        "and two that only report"
    );
    server.audit();
}

#[test]
fn new_batches_pass_a_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::default();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    for _ in 0..200 {
        agent.push_frame(1);
    }
    agent.keeper.connect(agent.now, MAX_STREAM_BATCHES);
    let backlog: Vec<_> = std::iter::from_fn(|| agent.keeper.next_to_send(agent.now)).collect();
    assert_eq!(backlog.len(), 24, "room is left");
    agent.push_frame(1);
    let message = agent.keeper.next_to_send(agent.now).unwrap();
    server.receive(&message);
    assert_eq!(server.stored(1, Kind::Bandwidth), [201]);
}

#[test]
fn batches_that_wait_travel_together_and_new_ones_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::default();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    for _ in 0..30 {
        agent.push_exchange(3000);
    }
    agent.push_frame(1);
    agent.keeper.connect(agent.now, MAX_STREAM_BATCHES);
    let streams: Vec<_> = std::iter::from_fn(|| agent.keeper.next_stream(agent.now)).collect();
    for stream in &streams {
        let octets: usize = stream.iter().map(|message| message.len()).sum();
        assert!(octets <= 16 << 10, "{octets}");
        let arrived = server.arrivals.len();
        for message in stream {
            server.receive(message);
        }
        let kinds = server.arrivals[arrived..]
            .iter()
            .map(|((_, kind), _)| *kind);
        let kinds = Vec::from_iter(kinds);
        assert!(kinds.windows(2).all(|pair| pair[0] == pair[1]));
    }
    assert_eq!(
        Vec::from_iter(streams.iter().map(Vec::len)),
        [5, 5, 5, 5, 4]
    );
    agent.push_frame(1);
    assert_eq!(agent.keeper.next_stream(agent.now).unwrap().len(), 1);
}

#[test]
fn an_older_server_gets_each_batch_on_a_stream_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    for _ in 0..5 {
        agent.push_frame(1);
    }
    agent.keeper.connect(agent.now, 1);
    let streams = std::iter::from_fn(|| agent.keeper.next_stream(agent.now));
    assert_eq!(Vec::from_iter(streams.map(|s| s.len())), [1; 5]);
}

#[test]
fn a_backlog_is_replayed_oldest_first_over_all_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::default();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    for n in 0..100 {
        agent.push_exchange(10);
        if n % 10 == 0 {
            agent.push_frame(1);
            agent.push_system();
        }
    }
    agent.keeper.connect(agent.now, MAX_STREAM_BATCHES);
    agent.exchange_with(&mut server, usize::MAX);
    let sealed: Vec<_> = server
        .arrivals
        .iter()
        .map(|key| server.batches[key].sealed_at_unix_ns)
        .collect();
    assert_eq!(sealed.len(), 120);
    assert!(sealed.is_sorted());
}

#[test]
fn batches_older_than_allowed_go_and_a_clock_that_is_wrong_for_a_moment_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut agent, _) = Agent::open(dir.path(), CAPS, 1);
    agent.push_frame(1);
    let year = 365 * 24 * 3_600_000_000_000;
    agent.now.unix_ns += year;
    agent.pass(Duration::from_secs(601));
    agent.turn();
    agent.now.unix_ns -= year;
    agent.pass(Duration::from_secs(601));
    agent.turn();
    assert_eq!(agent.omitted(Kind::Bandwidth), 0);
    agent.now.unix_ns += year;
    for _ in 0..2 {
        agent.pass(Duration::from_secs(601));
        agent.turn();
    }
    assert_eq!(agent.omitted(Kind::Bandwidth), 1);
}

#[test]
fn the_index_of_sixty_days_is_small() {
    // Batches as small as they get: sixty days of frames and readings of the host, each alone.
    use crate::spool::{
        book::Book,
        segment::{Entry, SegmentKey},
    };
    let mut book = Book::new(1, CAPS);
    let mut batches = 0;
    for (kind, every_s, bytes) in [
        (Kind::Bandwidth, 15, 700),
        (Kind::System, 10, 600),
        (Kind::Exchanges, 1, 400),
    ] {
        let mut key = None;
        for sequence in 1..=60 * 24 * 3600 / every_s {
            let full = |key: &SegmentKey| book.segments()[key].bytes >= CAPS.segment_bytes;
            let at = match key.filter(|key| !full(key)) {
                Some(at) => at,
                None => {
                    let at = SegmentKey {
                        kind,
                        epoch: 1,
                        first: sequence,
                    };
                    book.open_segment(at, Backing::File, 40);
                    book.unload_except(|key| key == at);
                    at
                }
            };
            key = Some(at);
            book.append(
                at,
                Entry {
                    sequence,
                    offset: 0,
                    bytes,
                    records: 1,
                    sealed_at_unix_ns: 0,
                },
            );
            batches += 1;
        }
    }
    assert!(batches > 6_000_000);
    assert_eq!(book.waiting().0, batches);
    let segments = book.segments().len();
    assert!(segments < 3000, "{segments}");
    assert!(book.index_bytes() < 1 << 20, "{} bytes", book.index_bytes());
}

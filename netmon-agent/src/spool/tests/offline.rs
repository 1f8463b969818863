//! A day without a server, by a clock that is made up.

use super::*;
use crate::spool::rank;

const INTERFACES: u64 = 2;

#[test]
fn a_day_offline_in_a_small_spool_keeps_all_bandwidth_and_names_what_went() {
    let dir = tempfile::tempdir().unwrap();
    let caps = Caps {
        disk_bytes: 16 << 20,
        ..CAPS
    };
    let mut server = Server::default();
    let (mut agent, _) = Agent::open(dir.path(), caps, 1);
    let mut exchanges = 0;
    for second in 0..24 * 3600_u64 {
        if second % 15 == 0 {
            for _ in 0..INTERFACES {
                agent.push_frame(3);
            }
        }
        if second % 10 == 0 {
            agent.push_system();
        }
        if second % 2 == 0 {
            agent.push_exchange(600);
            exchanges += 1;
        }
    }
    let status = agent.keeper.status();
    assert!(status.disk_bytes <= caps.disk_bytes);
    assert!(status.index_bytes < 1 << 20, "{}", status.index_bytes);
    let lost = agent.omitted(Kind::Exchanges);
    assert!(lost > exchanges / 4, "{lost} of {exchanges}");
    assert_eq!(
        (agent.omitted(Kind::System), agent.omitted(Kind::Bandwidth)),
        (0, 0)
    );
    assert_eq!(agent.keeper.book().omissions.all().len(), 1, "one range");
    // Back, while new frames come.
    agent.keeper.connect(agent.now, MAX_STREAM_BATCHES);
    for _ in 0..200 {
        agent.exchange_with(&mut server, 100);
        agent.push_frame(3);
    }
    agent.deliver(&mut server);
    assert_eq!(server.packets(), agent.packets);
    let stored = server.stored(1, Kind::Exchanges);
    assert_eq!(stored.len() as u64, exchanges - lost);
    assert_eq!(stored[0], lost + 1, "the oldest went");
    let tally = agent.keeper.book().tally();
    assert_eq!(
        tally.omitted_records[rank(Kind::Exchanges)]
            .iter()
            .sum::<u64>(),
        lost
    );
    server.audit();
}

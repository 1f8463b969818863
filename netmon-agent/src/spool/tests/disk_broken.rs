//! A disk that takes nothing any more, not even the state file.

use super::*;

/// A run whose disk breaks after ten packets, and that counts fifty more.
fn on_a_broken_disk(path: &Path) -> Agent {
    let (mut agent, _) = Agent::open(path, CAPS, 1);
    agent.push_frame(10);
    let disk = agent.keeper.disk_mut().unwrap();
    disk.directory_mut().freeze_state();
    // The state file should say this, and from here on the disk is known to refuse.
    agent.keeper.begin_attachment(3, 78, agent.now);
    for _ in 0..5 {
        agent.turn();
        agent.push_frame(10);
    }
    let status = agent.keeper.status();
    assert_eq!((status.waiting.0, status.in_memory), (6, 5), "{status:?}");
    assert!(status.write_errors > 0);
    agent
}

#[test]
fn a_broken_disk_does_not_hold_up_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::default();
    let mut agent = on_a_broken_disk(dir.path());
    agent.deliver(&mut server);
    assert_eq!(agent.keeper.status().waiting.0, 0);
    assert_eq!(server.packets(), 60);
    server.audit();
}

#[test]
fn an_agent_that_dies_on_a_broken_disk_leaves_older_totals() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::default();
    let mut agent = on_a_broken_disk(dir.path());
    agent.deliver(&mut server);
    drop(agent);
    let (_, recovered) = Agent::open(dir.path(), CAPS, 2);
    assert_eq!(recovered.checkpoint[&ATTACHMENT].0.ingress.packets, 10);
}

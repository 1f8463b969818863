//! The server is restarted while a fleet sends.

use std::{path::Path, time::Duration};

use netmon_common::wire::{Kind, MAX_UDP_PAYLOAD};
use netmon_lab::Signal;

use crate::{
    agent::Pace,
    books,
    fleet::{Fleet, Plan},
    identity,
    policy::Policy,
    restart::restart,
    site::Site,
};

const AGENTS: usize = 50;

/// The real agent's pauses, shortened: the test is about what is stored, not about when.
fn policy() -> Policy {
    let real = Policy::default();
    Policy {
        spread: real.spread / 10,
        first: real.first / 10,
        longest: real.longest / 10,
        attempt: real.attempt / 2,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_agent_loses_a_batch_and_none_is_stored_twice_when_the_server_is_stopped_and_killed() {
    let mut site = Site::new(Path::new(env!("CARGO_BIN_EXE_netmon-server"))).unwrap();
    site.start().await.unwrap();
    let directory = site.directory.join("agents");
    let identities =
        identity::issue(&site.data_dir(), &directory, AGENTS, MAX_UDP_PAYLOAD).unwrap();
    let plan = Plan {
        paces: vec![
            (Kind::Bandwidth, Pace::Every(Duration::from_millis(200))),
            (Kind::Exchanges, Pace::Every(Duration::from_millis(500))),
        ],
        policy: policy(),
        live: Some(Duration::from_secs(1)),
        ..Plan::default()
    };
    let patience = Duration::from_secs(40);
    let fleet = Fleet::launch(&identities, site.quic, &plan);
    fleet.all_connected(patience).await.unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        tokio::time::sleep(Duration::from_millis(700)).await;
        restart(&mut site, &fleet, signal).await.unwrap();
    }
    let handed = fleet.finish(patience).await.unwrap();
    assert_eq!(handed.len(), AGENTS);
    let sealed = handed.iter().flat_map(|one| &one.streams);
    assert!(sealed.map(|stream| stream.sealed_through).sum::<u64>() > AGENTS as u64 * 5);
    let pool = site.pool(1).unwrap();
    books::balance(&pool, &handed).await.unwrap();
    // The database waits for its clients before it ends.
    pool.close().await;
}

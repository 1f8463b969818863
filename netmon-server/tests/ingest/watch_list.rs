//! What is to be watched reaches the agents that take it: by its difference if they hold an earlier
//! list, whole if not, and at last what they saw comes back.

use netmon_common::{
    watch::{Assembly, Held, List},
    wire::{Batch, Kind, Sighting},
};
use netmon_server::store::botnets::Botnets;
use time::OffsetDateTime;

use crate::{agent::Agent, server::Server};

/// Replaces the list of the family `mozi`.
async fn list(server: &Server, entries: &[&str]) {
    let botnets = Botnets::new(server.pool.clone(), &Default::default());
    let mozi = botnets.family("mozi").await.unwrap().unwrap();
    let list: List = entries.iter().map(|entry| entry.parse().unwrap()).collect();
    botnets.set_watch_list(mozi.id, &list).await.unwrap();
}

/// Takes updates until the list has so many entries; gives it, and how many updates were whole.
async fn told(agent: &mut Agent, mut held: Held, entries: usize) -> (Held, usize) {
    let mut assembly = Assembly::default();
    let mut whole = 0;
    while held.list.len() != entries {
        let piece = agent.update().await;
        let is_whole = piece.from.is_empty();
        if let Some(next) = assembly.take(&held, &piece).unwrap() {
            held = next;
            whole += usize::from(is_whole);
        }
    }
    (held, whole)
}

#[tokio::test]
async fn an_agent_is_told_the_difference_from_what_it_holds() {
    let server = Server::start().await;
    let mut agent = server.agent_that_watches(&Held::default()).await;
    list(&server, &["192.0.2.1", "198.51.100.0/24", "2001:db8::1"]).await;
    // Whole if the server had not looked before.
    let (held, first) = told(&mut agent, Held::default(), 3).await;
    list(
        &server,
        &["192.0.2.1", "198.51.100.0/24", "192.0.2.2", "192.0.2.3"],
    )
    .await;
    let (next, whole) = told(&mut agent, held.clone(), 4).await;
    assert_eq!(whole, 0);
    assert!(next.version > held.version);
    assert!(next.list.covers("198.51.100.7".parse().unwrap()));
    assert!(!next.list.covers("2001:db8::1".parse().unwrap()));

    // One that was away is told what changed meanwhile, one that holds something else everything,
    // and one that holds the list nothing.
    let mut late = server.agent_that_watches(&held).await;
    assert_eq!(told(&mut late, held, 4).await, (next.clone(), 0));
    let other = Held::new(7, ["203.0.113.1".parse().unwrap()].into_iter().collect());
    let mut lost = server.agent_that_watches(&other).await;
    assert_eq!(told(&mut lost, other, 4).await, (next.clone(), 1));
    let mut settled = server.agent_that_watches(&next).await;
    assert!(!settled.is_told_to_watch().await);
    let told_whole = "netmon_server_watch_updates_total{update=\"whole\"}";
    assert_eq!(server.metric(told_whole), first as u64 + 1);
}

#[tokio::test]
async fn an_agent_that_takes_no_list_is_told_none() {
    let server = Server::start().await;
    list(&server, &["192.0.2.1"]).await;
    let mut watching = server.agent_that_watches(&Held::default()).await;
    told(&mut watching, Held::default(), 1).await;
    let mut older = server.agent().await;
    assert!(!older.is_told_to_watch().await);
    server
        .metric_becomes("netmon_server_watch_agents{takes=\"no\"}", 1)
        .await;
    assert_eq!(
        server.metric("netmon_server_watch_agents{takes=\"yes\"}"),
        1
    );
}

#[tokio::test]
async fn what_an_agent_saw_becomes_a_communication_of_the_family() {
    let server = Server::start().await;
    list(&server, &["192.0.2.0/24"]).await;
    let mut agent = server.agent().await;
    let at = OffsetDateTime::now_utc().unix_timestamp_nanos() as i64;
    let batch = Batch {
        epoch: 1,
        sequence: 1,
        kind: Kind::Sightings.into(),
        sealed_at_unix_ns: at,
        sightings: vec![Sighting {
            address: vec![192, 0, 2, 9],
            first_at_unix_ns: at,
            last_at_unix_ns: at,
            flows: 1,
            ..Sighting::default()
        }],
        ..Batch::default()
    };
    agent.deliver(&batch).await;
    let row: (String, i64) = sqlx::query_as(
        "SELECT host(c.ip), c.count FROM botnet_communications c JOIN botnet_sources s USING (source_id)
         WHERE s.kind = 'agent' AND s.name = $1",
    )
    .bind(agent.id.to_string())
    .fetch_one(&server.pool)
    .await
    .unwrap();
    assert_eq!(row, ("192.0.2.9".to_owned(), 1));
    let stored = "netmon_server_watch_sightings_total{result=\"stored\"}";
    assert_eq!(server.metric(stored), 1);
}

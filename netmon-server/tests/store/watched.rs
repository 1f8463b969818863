//! Sightings of watched addresses: each once, in the families that the address is watched for.

use netmon_common::{
    watch::List,
    wire::{Batch, Kind, Sighting},
};
use netmon_server::{
    agent_id::AgentId,
    store::{
        Committed, Rows, SightingCounts, Store,
        botnets::{Botnets, FamilyId},
    },
};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::{
    batch::{DAY_NS, SECOND_NS, now_ns},
    botnets::{assert_exact, botnets},
    database::{RETENTION, number, register},
    program::{netmon_server, text},
};

/// A store, the families `mozi` with a watched node, and `ramnit` with a list.
async fn site() -> (Store, PgPool) {
    let (botnets, pool, mozi) = botnets().await;
    sqlx::raw_sql(
        "UPDATE botnet_families SET watched = true WHERE name = 'mozi';
         INSERT INTO botnet_nodes (family_id, ip, first_seen, last_seen, communications, place_id,
                                   edition_id)
         SELECT family_id, ip, now(), now(), 0, 0, 0
         FROM botnet_families, unnest('{192.0.2.7,192.0.2.8}'::inet[]) AS n (ip)
         WHERE name = 'mozi';
         INSERT INTO botnet_deltas (family_id, place_ids, nodes, communications, days)
         SELECT family_id, '{0}', '{2}', '{0}', '{}' FROM botnet_families WHERE name = 'mozi'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let ramnit = botnets.family("ramnit").await.unwrap().unwrap();
    let listed: List = [
        "192.0.2.0/29".parse().unwrap(),
        "2001:db8::/32".parse().unwrap(),
    ]
    .into_iter()
    .collect();
    botnets.set_watch_list(ramnit.id, &listed).await.unwrap();
    assert_ne!(mozi.id, ramnit.id);
    (Store::new(pool.clone(), RETENTION), pool)
}

fn sighting(address: &[u8], flows: u64) -> Sighting {
    let at = now_ns();
    Sighting {
        address: address.to_vec(),
        first_at_unix_ns: at,
        last_at_unix_ns: at + 1000,
        flows,
        begun_there: flows,
        inbound_packets: 2,
        inbound_bytes: 200,
        outbound_packets: 1,
        outbound_bytes: 60,
        ports: vec![443, 4444],
        local_ports: vec![5000],
    }
}

fn batch(sequence: u64, sightings: Vec<Sighting>) -> Batch {
    Batch {
        epoch: 1,
        sequence,
        kind: Kind::Sightings.into(),
        sealed_at_unix_ns: now_ns(),
        sightings,
        ..Batch::default()
    }
}

async fn stored(store: &Store, batches: &[(AgentId, Batch)]) -> (Vec<Committed>, SightingCounts) {
    let mut rows = Rows::default();
    for (agent, batch) in batches {
        rows.push(*agent, batch, store.window()).unwrap();
    }
    let committed = store.commit_group(&rows, 0..batches.len()).await.unwrap();
    (committed.verdicts, committed.sightings)
}

/// Sightings, their octets from nodes, rows and families in communications.
async fn communicated(pool: &PgPool) -> [i64; 4] {
    let of = |what: &str| format!("SELECT coalesce({what}, 0) FROM botnet_communications");
    [
        number(pool, &of("sum(count)")).await,
        number(pool, &of("sum(inbound_bytes)")).await,
        number(pool, &of("count(*)")).await,
        number(pool, &of("count(DISTINCT family_id)")).await,
    ]
}

#[tokio::test]
async fn a_sighting_is_in_every_family_that_the_address_is_watched_for() {
    let (store, pool) = site().await;
    let agent = register(&store).await;
    let sightings = vec![
        // A node of the one, and on the list of the other.
        sighting(&[192, 0, 2, 7], 1),
        // A node only.
        sighting(&[192, 0, 2, 8], 1),
        // On the list only: it becomes a node.
        sighting(&[192, 0, 2, 1], 2),
        // Neither, any more.
        sighting(&[198, 51, 100, 1], 1),
    ];
    let (_, counts) = stored(&store, &[(agent, batch(1, sightings))]).await;
    assert_eq!((counts.stored, counts.unwatched, counts.too_old), (3, 1, 0));
    assert_eq!(counts.communications, 4);
    assert_eq!(communicated(&pool).await, [5, 800, 4, 2]);
    assert_exact(&pool).await;
    let row: (Vec<i32>, Vec<i32>, i64, i64, i64, String) = sqlx::query_as(
        "SELECT c.ports, c.local_ports, c.outbound_packets, c.outbound_bytes, c.begun_there, s.name
         FROM botnet_communications c JOIN botnet_sources s USING (source_id)
         WHERE c.ip = '192.0.2.8'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let expected = (vec![443, 4444], vec![5000], 1, 60, 1, agent.to_string());
    assert_eq!(row, expected);
}

#[tokio::test]
async fn more_of_a_flow_adds_packets_and_counts_nothing() {
    let (store, pool) = site().await;
    let agent = register(&store).await;
    let first = batch(1, vec![sighting(&[192, 0, 2, 8], 1)]);
    let more = batch(2, vec![sighting(&[192, 0, 2, 8], 0)]);
    stored(&store, &[(agent, first), (agent, more)]).await;
    assert_eq!(communicated(&pool).await, [1, 400, 1, 1]);
    // Of an address that is no node it says nothing that could be kept.
    let stray = batch(3, vec![sighting(&[192, 0, 2, 3], 0)]);
    let (_, counts) = stored(&store, &[(agent, stray)]).await;
    assert_eq!((counts.stored, counts.unwatched), (0, 1));
    assert_exact(&pool).await;
}

#[tokio::test]
async fn a_batch_sent_again_counts_once_alone_and_beside_new_ones() {
    let (store, pool) = site().await;
    let agent = register(&store).await;
    let of = |sequence| batch(sequence, vec![sighting(&[192, 0, 2, 8], 1)]);
    stored(&store, &[(agent, of(1))]).await;
    let (verdicts, _) = stored(&store, &[(agent, of(1))]).await;
    assert_eq!(verdicts, [Committed::Duplicate]);
    let (verdicts, counts) = stored(&store, &[(agent, of(1)), (agent, of(2))]).await;
    assert_eq!(verdicts[0], Committed::Duplicate);
    assert!(matches!(verdicts[1], Committed::Stored(_)));
    assert_eq!(counts.stored, 1);
    assert_eq!(communicated(&pool).await, [2, 400, 1, 1]);
    assert_exact(&pool).await;
}

#[tokio::test]
async fn what_is_older_than_communications_are_kept_is_left_out_and_not_refused() {
    let (store, pool) = site().await;
    let agent = register(&store).await;
    let old = Sighting {
        first_at_unix_ns: now_ns() - 100 * DAY_NS,
        last_at_unix_ns: now_ns() - 100 * DAY_NS + SECOND_NS,
        ..sighting(&[192, 0, 2, 8], 1)
    };
    let batch = batch(1, vec![old, sighting(&[192, 0, 2, 8], 1)]);
    let (verdicts, counts) = stored(&store, &[(agent, batch)]).await;
    assert!(matches!(verdicts[0], Committed::Stored(_)));
    assert_eq!((counts.stored, counts.too_old), (1, 1));
    assert_eq!(communicated(&pool).await[0], 1);
}

#[tokio::test]
async fn many_agents_that_see_the_same_addresses_at_once_neither_wait_for_ever_nor_lose_any() {
    const AGENTS: usize = 8;
    const BATCHES: u64 = 10;
    let (store, pool) = site().await;
    let store = std::sync::Arc::new(store);
    let mut tasks = JoinSet::new();
    for _ in 0..AGENTS / 2 {
        let agents = [register(&store).await, register(&store).await];
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move {
            for sequence in 1..=BATCHES {
                // The last octets in another order for each, some of them new nodes.
                let all = (0..7).map(|n| sighting(&[192, 0, 2, (n * 3 + sequence as u8) % 7], 1));
                let batches = agents.map(|agent| (agent, batch(sequence, all.clone().collect())));
                let mut rows = Rows::default();
                for (agent, batch) in &batches {
                    rows.push(*agent, batch, store.window()).unwrap();
                }
                // As writers do: what passes is tried again, by halves.
                while store.commit_group(&rows, 0..2).await.is_err() {
                    let _ = store.commit_group(&rows, 0..1).await;
                    let _ = store.commit_group(&rows, 1..2).await;
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let all = AGENTS as i64 * BATCHES as i64 * 7;
    assert_eq!(communicated(&pool).await[0], all);
    assert_exact(&pool).await;
}

#[tokio::test]
async fn a_wrong_sighting_spoils_its_batch_and_is_named() {
    let (store, _) = site().await;
    let agent = register(&store).await;
    let good = || sighting(&[192, 0, 2, 8], 1);
    for (bad, place) in [
        (sighting(&[1, 2, 3], 1), "sightings[1].address"),
        (
            Sighting {
                first_at_unix_ns: now_ns() + SECOND_NS,
                ..good()
            },
            "sightings[1].first_at_unix_ns",
        ),
        (
            Sighting {
                begun_there: 2,
                ..good()
            },
            "sightings[1].begun_there",
        ),
        (
            Sighting {
                ports: vec![1 << 16],
                ..good()
            },
            "sightings[1].ports",
        ),
        (
            Sighting {
                local_ports: vec![1; 17],
                ..good()
            },
            "sightings[1].local_ports",
        ),
        (
            Sighting {
                inbound_bytes: u64::MAX,
                ..good()
            },
            "sightings[1].inbound_bytes",
        ),
    ] {
        let invalid = store
            .validate(agent, &batch(1, vec![good(), bad]))
            .unwrap_err();
        assert_eq!(invalid.place, place);
    }
    let elsewhere = Batch {
        kind: Kind::Flows.into(),
        ..batch(1, vec![good()])
    };
    let invalid = store.validate(agent, &elsewhere).unwrap_err();
    assert_eq!(invalid.place, "sightings");
}

#[tokio::test]
async fn nodes_of_watched_families_and_lists_are_what_agents_are_to_watch() {
    let (store, pool) = site().await;
    let sign = store.watch_sign().await.unwrap();
    let watchable = store.watchable(&sign).await.unwrap();
    let expected = ["192.0.2.7", "192.0.2.8", "192.0.2.0/29", "2001:db8::/32"];
    let expected: List = expected
        .iter()
        .map(|entry| entry.parse().unwrap())
        .collect();
    assert_eq!((watchable.list, watchable.left_out), (expected, 0));
    assert_eq!(store.watch_sign().await.unwrap(), sign, "nothing changed");

    // A node more, a list less, a family that nobody watches any more: each is seen.
    let agent = register(&store).await;
    sqlx::query("UPDATE botnet_families SET watched = true WHERE name = 'ramnit'")
        .execute(&pool)
        .await
        .unwrap();
    let before = store.watch_sign().await.unwrap();
    assert_eq!(before, sign, "it has no nodes");
    let new_node = batch(1, vec![sighting(&[192, 0, 2, 1], 1)]);
    stored(&store, &[(agent, new_node)]).await;
    let after = store.watch_sign().await.unwrap();
    assert_ne!(after, before);
    let list = store.watchable(&after).await.unwrap().list;
    assert!(
        list.iter()
            .any(|entry| entry == "192.0.2.1".parse().unwrap())
    );
    let botnets = Botnets::new(pool.clone(), &Default::default());
    let ramnit = botnets.family("ramnit").await.unwrap().unwrap();
    let emptied = botnets
        .set_watch_list(ramnit.id, &List::default())
        .await
        .unwrap();
    assert_eq!((emptied.revision, emptied.entries), (2, 0));
    let last = store.watch_sign().await.unwrap();
    assert_ne!(last, after);
    assert_eq!(store.watchable(&last).await.unwrap().list.len(), 3);
    sqlx::query("UPDATE botnet_families SET watched = false WHERE name = 'mozi'")
        .execute(&pool)
        .await
        .unwrap();
    let unwatched = store.watch_sign().await.unwrap();
    assert_ne!(unwatched, last);
    assert_eq!(store.watchable(&unwatched).await.unwrap().list.len(), 1);
    let (gone, list) = (FamilyId::from(999), List::default());
    assert!(botnets.set_watch_list(gone, &list).await.is_err());
}

#[tokio::test]
async fn a_list_is_imported_and_emptied_by_the_command() {
    let (store, pool) = site().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let import = ["botnet", "watch", "import", "--family", "wauchos", &path];
    std::fs::write(file.path(), "# bad\n198.51.100.1\n203.0.113.0/24\n").unwrap();
    let done = netmon_server(&pool, &import).await;
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = "andromeda: agents watch 2 addresses and prefixes (revision 1)\n";
    assert_eq!(text(&done.stdout), said);
    let watched = async || {
        let sign = store.watch_sign().await.unwrap();
        store.watchable(&sign).await.unwrap().list
    };
    assert!(watched().await.covers("203.0.113.9".parse().unwrap()));

    std::fs::write(file.path(), "198.51.100.1\nnobody\n").unwrap();
    let failed = netmon_server(&pool, &import).await;
    assert!(!failed.status.success());
    let complaint = text(&failed.stderr);
    assert!(complaint.contains("line 2: \"nobody\""), "{complaint}");
    let cleared = ["botnet", "watch", "clear", "--family", "andromeda"];
    assert!(netmon_server(&pool, &cleared).await.status.success());
    assert!(!watched().await.covers("203.0.113.9".parse().unwrap()));
}

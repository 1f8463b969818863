//! A chunk is stored whole and once.

use std::{sync::Arc, time::Duration};

use netmon_server::store::{
    StoreError,
    botnets::{BotnetError, Rejections, StoredChunk},
};
use sqlx::Executor;
use time::OffsetDateTime;

use crate::{
    botnets::{
        assert_balanced, botnets, chunk, edition, host, nodes, place, seen, sightings, upload,
    },
    database::number,
};

#[tokio::test]
async fn a_chunk_sent_twice_is_stored_once_and_gives_the_same_figures() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let first = upload(&botnets, &family, "k").await;
    assert!(!first.known && !first.finished);
    let at = first.received_at;
    let mut sent = chunk(0, edition, (0..500).map(|n| seen(n % 100, at)).collect());
    sent.figures.lines += 2;
    sent.figures.rejected += 2;
    sent.rejections.add(7, "bad_time");
    sent.rejections.add(9, "bad_time");

    let stored = botnets.store_chunk(&first, sent.clone()).await.unwrap();
    assert_eq!(
        stored,
        StoredChunk::New(sent.figures, sent.rejections.clone())
    );
    assert_balanced(&pool).await;
    assert_eq!((nodes(&pool).await, sightings(&pool).await), (100, 500));
    botnets.finish_upload(&first).await.unwrap();

    let again = upload(&botnets, &family, "k").await;
    assert!(again.known && again.finished);
    assert_eq!((again.upload_id, again.received_at), (first.upload_id, at));
    let known = botnets.store_chunk(&again, sent.clone()).await.unwrap();
    assert_eq!(known, StoredChunk::Known(sent.figures, sent.rejections));
    assert_balanced(&pool).await;
    assert_eq!(sightings(&pool).await, 500);
}

#[tokio::test]
async fn other_content_under_the_same_key_is_refused() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let of = |n| chunk(0, edition, vec![seen(n, upload.received_at)]);
    botnets.store_chunk(&upload, of(1)).await.unwrap();
    let error = botnets.store_chunk(&upload, of(2)).await.unwrap_err();
    assert!(
        matches!(error, BotnetError::OtherContent { chunk: 0 }),
        "{error}"
    );
    assert_eq!(nodes(&pool).await, 1);
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn a_known_node_keeps_its_place_and_counts_there() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let at = upload.received_at;
    let first = chunk(0, edition, vec![seen(1, at)]);
    botnets.store_chunk(&upload, first).await.unwrap();
    let mut moved = seen(1, at - time::Duration::HOUR);
    moved.place = place(3);
    let others = (10..200).map(|n| seen(n, at));
    let second = chunk(1, edition, others.chain([moved]).collect());
    botnets.store_chunk(&upload, second).await.unwrap();
    let (_, before) = host(1);
    let places = format!(
        "SELECT count(*) FROM botnet_nodes JOIN botnet_places USING (place_id)
         WHERE communications = 2 AND province = '{}'",
        before.province()
    );
    assert_eq!(number(&pool, &places).await, 1);
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn sightings_of_one_hour_and_source_are_one_communication_with_its_lowest_ports() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let hour = upload.received_at.replace_minute(0).unwrap() - time::Duration::HOUR;
    let of_ports = |ports: std::ops::Range<u16>| {
        let of_port = |port| {
            let mut of = seen(1, hour + time::Duration::minutes(i64::from(port % 30)));
            of.port = Some(port);
            of
        };
        ports.map(of_port).collect()
    };
    let unknown = {
        let mut of = seen(1, hour);
        of.port = None;
        of
    };
    for (index, sightings) in [
        vec![unknown],
        of_ports(10..30),
        of_ports(5..12),
        of_ports(100..101),
    ]
    .into_iter()
    .enumerate()
    {
        let chunk = chunk(index as u32, edition, sightings);
        botnets.store_chunk(&upload, chunk).await.unwrap();
    }
    let (count, ports): (i64, Vec<i32>) =
        sqlx::query_as("SELECT count, ports FROM botnet_communications")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!((count, ports), (29, Vec::from_iter(5..21)));
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn a_chunk_without_sightings_is_known_all_the_same() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let mut empty = chunk(0, edition, vec![]);
    empty.raw = "# nothing\n".into();
    empty.figures.lines = 1;
    for expected in [
        StoredChunk::New(empty.figures, Rejections::default()),
        StoredChunk::Known(empty.figures, Rejections::default()),
    ] {
        let stored = botnets.store_chunk(&upload, empty.clone()).await.unwrap();
        assert_eq!(stored, expected);
    }
    assert_eq!(number(&pool, "SELECT count(*) FROM botnet_deltas").await, 0);
}

#[tokio::test]
async fn times_that_are_not_kept_are_refused_before_anything_is_written() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let window = botnets.window(upload.received_at);
    let second = time::Duration::SECOND;
    for at in [*window.start() - second, *window.end() + second] {
        let chunk = chunk(0, edition, vec![seen(1, at)]);
        let error = botnets.store_chunk(&upload, chunk).await.unwrap_err();
        assert!(
            matches!(error, BotnetError::OutOfWindow(of) if of == at),
            "{error}"
        );
    }
    let edges = vec![seen(1, *window.start()), seen(1, *window.end())];
    let edges = chunk(0, edition, edges);
    botnets.store_chunk(&upload, edges).await.unwrap();
    assert_balanced(&pool).await;
}

#[tokio::test]
async fn a_database_that_drops_a_row_gets_nothing_of_the_chunk() {
    for table in ["botnet_nodes", "botnet_communications", "botnet_deltas"] {
        let (botnets, pool, family) = botnets().await;
        let edition = edition(&botnets).await;
        let upload = upload(&botnets, &family, "k").await;
        let at = upload.received_at;
        let first = chunk(0, edition, vec![seen(50, at)]);
        botnets.store_chunk(&upload, first).await.unwrap();
        let condition = match table {
            "botnet_deltas" => "true",
            _ => "NEW.ip = '45.0.0.150'",
        };
        let trigger = format!(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF {condition} THEN RETURN NULL; END IF; RETURN NEW; END $$;
             CREATE TRIGGER lose BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION lose()"
        );
        pool.execute(trigger.as_str()).await.unwrap();
        let sent = chunk(1, edition, (1..300).map(|n| seen(n, at)).collect());
        let error = botnets
            .store_chunk(&upload, sent.clone())
            .await
            .unwrap_err();
        let mismatch = matches!(
            error,
            BotnetError::Store(StoreError::Mismatch { table: of, .. }) if of == table
        );
        assert!(mismatch, "{table}: {error}");
        assert_eq!(nodes(&pool).await, 1, "{table}");
        assert_balanced(&pool).await;
        pool.execute(format!("DROP TRIGGER lose ON {table}").as_str())
            .await
            .unwrap();
        botnets.store_chunk(&upload, sent).await.unwrap();
        assert_balanced(&pool).await;
    }
}

#[tokio::test]
async fn communications_without_their_node_do_not_stop_a_chunk() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let at = upload.received_at;
    let of = |index, from| {
        chunk(
            index,
            edition,
            (from..from + 200).map(|n| seen(n, at)).collect(),
        )
    };
    botnets.store_chunk(&upload, of(0, 0)).await.unwrap();
    pool.execute("DELETE FROM botnet_nodes").await.unwrap();
    pool.execute("DELETE FROM botnet_deltas").await.unwrap();
    let stored = botnets.store_chunk(&upload, of(1, 100)).await.unwrap();
    assert!(matches!(stored, StoredChunk::New(..)));
    assert_eq!(nodes(&pool).await, 200);
    let twice = "SELECT count(*) FROM botnet_communications WHERE count = 2";
    assert_eq!(number(&pool, twice).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_chunk_sent_by_several_at_once_is_stored_once() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let sent = chunk(
        0,
        edition,
        (0..2000).map(|n| seen(n, upload.received_at)).collect(),
    );
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (botnets, upload, sent) = (Arc::clone(&botnets), upload.clone(), sent.clone());
        tasks.spawn(async move { botnets.store_chunk(&upload, sent).await.unwrap() });
    }
    let outcomes = tasks.join_all().await;
    let new = outcomes
        .iter()
        .filter(|of| matches!(of, StoredChunk::New(..)));
    assert_eq!(new.count(), 1);
    assert_balanced(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_in_the_middle_leave_all_or_nothing() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4_u32 {
        let (botnets, family) = (Arc::clone(&botnets), family.clone());
        writers.spawn(async move {
            let upload = loop {
                let key = format!("upload {writer}");
                let begun = botnets.begin_upload(&family, Some(&key), "sinkhole", "auto");
                if let Ok(upload) = begun.await {
                    break upload;
                }
            };
            for index in 0..12 {
                let of = |n| seen(writer * 500 + index * 40 + n, upload.received_at);
                let sent = chunk(index, edition, (0..1000).map(of).collect());
                // Given up for now: what the sender would do.
                while let Err(error) = botnets.store_chunk(&upload, sent.clone()).await {
                    assert!(error.is_transient(), "{error}");
                }
            }
        });
    }
    let killer = {
        let (options, stop) = (pool.connect_options(), stop.clone());
        tokio::spawn(async move {
            use sqlx::Connection;
            let mut connection = sqlx::PgConnection::connect_with(&options).await.unwrap();
            let mut killed = 0;
            // Not for ever: on a slow machine nobody would get to the end of a transaction.
            while !stop.is_cancelled() && killed < 40 {
                let some = sqlx::query_scalar::<_, i64>(
                    "SELECT count(pg_terminate_backend(pid)) FROM (
                         SELECT pid FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid()
                           AND state <> 'idle' ORDER BY random() LIMIT 1) AS of",
                );
                killed += some.fetch_one(&mut connection).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            killed
        })
    };
    let outcomes = writers.join_all().await;
    stop.cancel();
    assert_eq!(outcomes.len(), 4);
    let killed = killer.await.unwrap();
    assert!(killed > 0, "nothing was killed");
    assert_balanced(&pool).await;
    assert_eq!(sightings(&pool).await, 4 * 12 * 1000);
    assert_eq!(
        number(&pool, "SELECT count(*) FROM botnet_chunks").await,
        48
    );
}

#[tokio::test]
async fn a_chunk_of_a_family_that_is_gone_is_refused() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    botnets.delete_family(family.id).await.unwrap();
    let sent = chunk(0, edition, vec![seen(1, OffsetDateTime::now_utc())]);
    let error = botnets.store_chunk(&upload, sent).await.unwrap_err();
    assert!(matches!(error, BotnetError::FamilyGone), "{error}");
    assert_eq!(nodes(&pool).await, 0);
}

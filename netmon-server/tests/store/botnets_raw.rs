//! Lines as they came can be processed again.

use netmon_server::store::botnets::{BotnetError, Figures};

use crate::botnets::{assert_balanced, botnets, chunk, edition, seen, sightings, upload};

#[tokio::test]
async fn chunks_come_back_in_their_order_with_their_lines() {
    let (botnets, _, family) = botnets().await;
    let edition = edition(&botnets).await;
    let mut sent = Vec::new();
    for key in ["a", "b"] {
        let upload = upload(&botnets, &family, key).await;
        for index in 0..3 {
            let chunk = chunk(
                index,
                edition,
                (0..50).map(|n| seen(n, upload.received_at)).collect(),
            );
            botnets.store_chunk(&upload, chunk.clone()).await.unwrap();
            sent.push((upload.clone(), chunk));
        }
    }
    let today = sent[0].0.received_at.date();
    let mut chunks = botnets.raw_chunks(family.id, today..=today.next_day().unwrap());
    for (upload, chunk) in sent {
        let back = chunks.next().await.unwrap().unwrap();
        assert_eq!((back.upload.key, back.index), (upload.key, chunk.index));
        assert_eq!(back.upload.received_at, upload.received_at);
        assert_eq!((back.raw, back.figures), (chunk.raw, chunk.figures));
        assert_eq!(back.first_line, chunk.first_line);
    }
    assert!(chunks.next().await.unwrap().is_none());
    let before = today.previous_day().unwrap();
    let mut none = botnets.raw_chunks(family.id, before..=before);
    assert!(none.next().await.unwrap().is_none());
}

#[tokio::test]
async fn lines_that_are_understood_later_are_added_once() {
    let (botnets, pool, family) = botnets().await;
    let edition = edition(&botnets).await;
    let upload = upload(&botnets, &family, "k").await;
    let at = upload.received_at;
    let mut first = chunk(0, edition, (0..50).map(|n| seen(n, at)).collect());
    first.figures = Figures {
        lines: 60,
        rejected: 10,
        ..first.figures
    };
    botnets.store_chunk(&upload, first.clone()).await.unwrap();

    let mut later = chunk(0, edition, (45..55).map(|n| seen(n, at)).collect());
    later.figures = Figures {
        lines: 60,
        accepted: 60,
        ..Figures::default()
    };
    let written = botnets
        .amend_chunk(&upload, first.figures, &later)
        .await
        .unwrap();
    assert_eq!((written.new_nodes, written.known_nodes), (5, 5));
    assert_eq!(sightings(&pool).await, 60);
    assert_balanced(&pool).await;

    let again = botnets.amend_chunk(&upload, first.figures, &later).await;
    assert!(matches!(again, Err(BotnetError::ChunkChanged)), "{again:?}");
    assert_eq!(sightings(&pool).await, 60);
    let today = at.date();
    let mut chunks = botnets.raw_chunks(family.id, today..=today);
    let back = chunks.next().await.unwrap().unwrap();
    assert_eq!((back.figures, back.raw), (later.figures, first.raw.clone()));
    // The upload sent again is told what is stored now.
    let known = botnets.store_chunk(&upload, first).await.unwrap();
    assert_eq!(known.figures(), later.figures);
}

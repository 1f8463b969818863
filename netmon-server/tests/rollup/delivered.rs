//! What agents deliver late, through the store as the ingest uses it.

use netmon_common::wire::{Batch, Hello};
use netmon_server::{
    agent_id::AgentId,
    config::RollUp,
    store::{Ageing, Committed, Store},
};
use time::{Duration, OffsetDateTime};

use crate::{
    batch::{FRAME_BYTES, batch, frame},
    site::{Site, ageing},
};

/// A batch of one frame that begins at a time.
fn delivered(sequence: u64, at: OffsetDateTime) -> Batch {
    Batch {
        bandwidth: vec![frame("eth0", at.unix_timestamp_nanos() as i64)],
        exchanges: Vec::new(),
        ..batch(sequence)
    }
}

async fn deliver(store: &Store, agent: AgentId, batch: &Batch) {
    let rows = store.validate(agent, batch).unwrap();
    let committed = store.commit(&rows).await.unwrap();
    assert!(matches!(committed, Committed::Stored(_)), "{committed:?}");
}

async fn agent(site: &Site) -> AgentId {
    let agent = AgentId::random();
    let hello = Hello {
        hostname: "host".to_owned(),
        epoch: 1,
        ..Hello::default()
    };
    site.store.register_agent(agent, &hello).await.unwrap();
    agent
}

const MARKS: &str = "SELECT count(*) FROM late_hours";
const BYTES: &str = "SELECT coalesce(sum(ingress_bytes), 0) FROM bandwidth_hours";

#[tokio::test]
async fn live_data_leaves_no_mark_and_late_data_is_in_the_sums_a_round_later() {
    let site = Site::new().await;
    let agent = agent(&site).await;
    let now = OffsetDateTime::now_utc();
    site.maintain(now).await;
    // A second ago may be the hour before: of that, only a minute after its end is late.
    deliver(&site.store, agent, &delivered(1, now - Duration::SECOND)).await;
    assert_eq!(site.number(MARKS).await, 0);
    deliver(&site.store, agent, &delivered(2, now - Duration::hours(3))).await;
    assert!(site.number(MARKS).await >= 1);
    assert!(site.maintain(now).await.rolled_up[0].revised >= 1);
    assert_eq!(site.number(BYTES).await, FRAME_BYTES);
    assert_eq!(site.number(MARKS).await, 0);
}

#[tokio::test]
async fn late_data_waits_until_no_more_of_its_hour_comes_but_not_for_ever() {
    let site = Site::new().await;
    let agent = agent(&site).await;
    let settings = Ageing {
        rollup: RollUp::default(),
        ..ageing()
    };
    let store = Store::new(site.pool().clone(), settings);
    let now = OffsetDateTime::now_utc();
    store.maintain_once(now).await.unwrap();
    let late = now - Duration::hours(3);
    deliver(&store, agent, &delivered(1, late)).await;
    let revised = async |after: Duration| {
        let done = store.maintain_once(now + after).await.unwrap();
        done.rolled_up[0].revised
    };
    assert_eq!(revised(Duration::seconds(30)).await, 0);
    assert!(revised(Duration::seconds(90)).await >= 1);
    deliver(&store, agent, &delivered(2, late)).await;
    // As if more had come all the time.
    let still = "UPDATE late_hours SET marked_at = marked_at + interval '1 hour'";
    sqlx::query(still).execute(site.pool()).await.unwrap();
    assert_eq!(revised(Duration::minutes(14)).await, 0);
    assert!(revised(Duration::minutes(16)).await >= 1);
    assert_eq!(site.number(BYTES).await, 2 * FRAME_BYTES);
}

#[tokio::test]
async fn data_older_than_raw_rows_are_kept_goes_into_the_sums_once() {
    let site = Site::new().await;
    let agent = agent(&site).await;
    let now = OffsetDateTime::now_utc();
    site.maintain(now).await;
    let noon = |days: i64| (now - Duration::days(days)).replace_time(time::macros::time!(12:00));
    for (sequence, days) in [(1, 10), (2, 10), (3, 20), (4, 10), (5, 3)] {
        let batch = delivered(sequence, noon(days) + Duration::minutes(sequence as i64));
        deliver(&site.store, agent, &batch).await;
        site.maintain(now).await;
        assert_eq!(site.number(BYTES).await, FRAME_BYTES * sequence as i64);
        let old = "SELECT count(*) FROM bandwidth_stats";
        assert_eq!(site.number(old).await, 0, "the rows are gone");
    }
    // Minutes are kept for five days.
    let minutes = "SELECT coalesce(sum(ingress_bytes), 0) FROM bandwidth_minutes";
    assert_eq!(site.number(minutes).await, FRAME_BYTES);
}

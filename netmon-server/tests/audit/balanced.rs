//! What balances is clean, and nothing at all is said of it.

use netmon_server::audit::Check;
use time::OffsetDateTime;

use crate::{
    batch::{DAY_NS, SECOND_NS},
    database::number,
    site::{HOUR, Site, set},
};

#[tokio::test]
async fn agents_that_delivered_everything_are_clean_over_restarts() {
    let mut site = Site::new().await;
    for _ in 0..2 {
        let mut host = site.host().await;
        for _ in 0..3 {
            // Pinned: the totals go on in the next run.
            for batch in [
                host.bandwidth(),
                host.exchanges(),
                host.system(),
                host.bandwidth(),
            ] {
                site.commit(&host, &batch).await;
            }
            host.restart();
        }
        host.attach();
        let batch = host.bandwidth();
        let batch = host.settled(batch, 1);
        site.commit(&host, &batch).await;
    }
    site.maintain().await;
    assert_eq!(site.found().await, set(&[]));
    let report = site.audit(24 * HOUR).await;
    assert_eq!((report.agents_checked, report.agents_unchecked), (2, 0));
    let checked = |check: Check| {
        report
            .checks
            .iter()
            .find(|c| c.check == check)
            .unwrap()
            .checked
    };
    assert_eq!(checked(Check::Sequences), 2 * 13);
    assert_eq!(checked(Check::Counters), 2 * 14);
    // A minute and an hour of eth0; two minutes and an hour of the host; an hour and a day of a server.
    assert_eq!(checked(Check::Rollups), 2 * 7);
}

#[tokio::test]
async fn batches_that_come_in_any_order_are_clean() {
    let mut site = Site::new().await;
    let mut host = site.host().await;
    let mut batches: Vec<_> = (0..5).map(|_| host.bandwidth()).collect();
    batches.reverse();
    for batch in &batches {
        site.commit(&host, batch).await;
    }
    site.maintain().await;
    assert_eq!(site.found().await, set(&[]));
}

#[tokio::test]
async fn a_clock_that_was_stepped_back_and_forth_is_no_loss() {
    let mut site = Site::new().await;
    let mut host = site.host().await;
    for step in [0, -DAY_NS * 3, DAY_NS * 3, -60 * SECOND_NS, 0] {
        host.now_ns += step;
        for batch in [host.bandwidth(), host.system(), host.exchanges()] {
            site.commit(&host, &batch).await;
        }
    }
    site.maintain().await;
    let breaks = sqlx::query(include_str!("../../src/audit/breaks.sql"))
        .bind(host.id.to_bigint())
        .bind(OffsetDateTime::now_utc() - 24 * HOUR)
        .bind(OffsetDateTime::now_utc() - 24 * HOUR);
    let alone = breaks.fetch_all(&site.pool).await.unwrap().len();
    assert!(alone > 0, "the frames of a day do not fit by themselves");
    assert_eq!(
        site.found().await,
        set(&[]),
        "frames before the window are looked for"
    );
    assert_eq!(site.audit(7 * 24 * HOUR).await.violations, 0);
}

#[tokio::test]
async fn a_window_that_begins_amid_the_data_is_clean() {
    let mut site = Site::new().await;
    let mut host = site.host().await;
    for _ in 0..4 {
        for batch in [host.bandwidth(), host.system()] {
            site.commit(&host, &batch).await;
        }
        host.now_ns += 40 * 60 * SECOND_NS;
    }
    site.maintain().await;
    for minutes in [1, 50, 100, 150, 200, 250] {
        assert_eq!(
            site.audit(HOUR * minutes / 60).await.violations,
            0,
            "{minutes} minutes"
        );
    }
}

#[tokio::test]
async fn a_trimmed_ledger_says_the_same() {
    let mut site = Site::new().await;
    site.delivered().await;
    site.trim().await;
    let left = "SELECT count(*) FROM ingest_ledger";
    assert_eq!(number(&site.pool, left).await, 0);
    assert_eq!(site.found().await, set(&[]));
    let report = site.audit(24 * HOUR).await;
    assert_eq!(report.outstanding_batches, 0);
}

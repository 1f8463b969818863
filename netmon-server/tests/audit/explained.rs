//! What is missing and says why is named, and is no violation.

use netmon_common::wire::{Batch, Gap, GapCause, Kind, Omission, OmissionCause};
use netmon_server::{metrics::BatchRefusal, store::Refusing};

use crate::{
    batch::SECOND_NS,
    site::{HOUR, Site, findings, set},
};

#[tokio::test]
async fn batches_the_agent_gave_up_explain_the_jump_also_below_the_floor() {
    let mut site = Site::new().await;
    let mut host = site.host().await;
    let (first, _, last) = (host.bandwidth(), host.bandwidth(), host.bandwidth());
    let omission = Omission {
        epoch: host.epoch,
        kind: Kind::Bandwidth.into(),
        first_sequence: 2,
        last_sequence: 2,
        cause: OmissionCause::SpoolFull.into(),
        batches: 1,
        records: 2,
    };
    let last = Batch {
        omissions: vec![omission],
        ..host.settled(last, 3)
    };
    for batch in [first, last] {
        site.commit(&host, &batch).await;
    }
    site.maintain().await;
    assert_eq!(
        site.found().await,
        set(&["sequences/omitted", "counters/omitted"])
    );
    let report = site.audit(24 * HOUR).await;
    let jump = findings(&report).find(|f| f.packets.is_some()).unwrap();
    assert_eq!((jump.packets, jump.bytes), (Some(12), Some(1200)));
    site.trim().await;
    assert_eq!(site.found().await, set(&["counters/omitted"]));
}

#[tokio::test]
async fn refused_batches_explain_the_jump_also_below_the_floor() {
    let mut site = Site::new().await;
    let mut host = site.host().await;
    let (first, refused, last) = (host.bandwidth(), host.bandwidth(), host.bandwidth());
    let refusing = Refusing {
        agent: host.id,
        epoch: host.epoch,
        kind: Kind::Bandwidth,
        sequence: refused.sequence,
        cause: BatchRefusal::InvalidRow,
        reason: "a test",
        message: b"",
    };
    site.store.refuse(refusing).await.unwrap();
    for batch in [first, host.settled(last, 3)] {
        site.commit(&host, &batch).await;
    }
    site.maintain().await;
    assert_eq!(
        site.found().await,
        set(&["sequences/refused", "counters/refused"])
    );
    site.trim().await;
    assert_eq!(site.found().await, set(&["counters/refused"]));
}

#[tokio::test]
async fn batches_that_are_still_with_the_agent_are_outstanding() {
    let mut site = Site::new().await;
    let mut host = site.host().await;
    let (first, _, last) = (host.bandwidth(), host.bandwidth(), host.bandwidth());
    for batch in [first, host.settled(last, 1)] {
        site.commit(&host, &batch).await;
    }
    site.maintain().await;
    assert_eq!(
        site.found().await,
        set(&["sequences/outstanding", "counters/outstanding"])
    );
    assert_eq!(site.audit(24 * HOUR).await.outstanding_batches, 1);
}

#[tokio::test]
async fn a_gap_the_agent_reports_explains_the_jump_over_it_and_no_other() {
    let mut site = Site::new().await;
    let mut host = site.host().await;
    let batch = host.bandwidth();
    site.commit(&host, &batch).await;
    let from_unix_ns = host.now_ns;
    host.miss();
    host.now_ns += 5 * SECOND_NS;
    host.restart();
    let gap = Gap {
        from_unix_ns,
        to_unix_ns: host.now_ns,
        cause: GapCause::Crashed.into(),
    };
    let batch = Batch {
        gaps: vec![gap],
        ..host.bandwidth()
    };
    site.commit(&host, &batch).await;
    site.maintain().await;
    // The frames before lie in the run before, of which nothing is missing.
    let gap = "counters/sensor_gap";
    assert_eq!(site.found().await, set(&[gap]));
    host.miss();
    let batch = host.bandwidth();
    site.commit(&host, &batch).await;
    site.maintain().await;
    assert_eq!(site.found().await, set(&[gap, "!counters/unexplained"]));
}

#[tokio::test]
async fn late_rows_that_are_not_in_the_sums_yet_are_pending() {
    let mut site = Site::new().await;
    let mut host = site.delivered().await;
    for batch in [host.bandwidth(), host.system(), host.exchanges()] {
        site.commit(&host, &batch).await;
    }
    assert_eq!(site.found().await, set(&["rollups/pending"]));
    site.maintain().await;
    assert_eq!(site.found().await, set(&[]));
}

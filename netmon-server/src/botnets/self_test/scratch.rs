//! One family from the first line to its statistics, made for this and removed again.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use netmon_geo::{Atlas, Place};
use sqlx::PgPool;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    geo::KNOWN,
    report::{Failure, Finding, Report},
};
use crate::{
    botnets::{
        Subject,
        aggregate::{Trigger, rebuild},
        audit::audit,
    },
    config::Config,
    store::botnets::{
        BotnetError, Botnets, Chunk, Family, Figures, Rejections, Sighting, StoredChunk, Upload,
    },
};

/// What such families are called; the rest is drawn.
const PREFIX: &str = "self-test-";

/// One that is older was left by a self-test that was killed: none takes as long.
const LEFT_OVER: time::Duration = time::Duration::minutes(10);

/// Nodes beside those with a known place.
const NODES: u32 = 1000;

/// How long the family's rows may take to be removed.
const REMOVAL: Duration = Duration::from_secs(60);

const LOOK: &str = "look into the log of the server and of the database";

/// Nodes and communications by place.
type Expected = BTreeMap<(String, String, String), (i64, i64)>;

/// Stores lines of a family of its own, rebuilds its statistics and compares them with a count.
pub(super) async fn exercise(
    config: &Config,
    pool: &PgPool,
    stop: CancellationToken,
    report: &mut Report,
) {
    let began = Instant::now();
    let botnets = Botnets::new(pool.clone(), &config.botnets).with_patience(Duration::ZERO);
    let family = match begin(&botnets).await {
        Ok(family) => family,
        Err(error) => {
            report.add("store", began, Err(Failure::new(error, LOOK)));
            return report.skip_missing(&["aggregation", "statistics"]);
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = check(&botnets, &family, report) => {}
    }
    report.skip_missing(&["store", "aggregation", "statistics"]);
    let began = Instant::now();
    report.add("removal", began, remove(&botnets, &family).await);
}

/// Removes what earlier ones left, and makes a family.
async fn begin(botnets: &Botnets) -> Result<Family, BotnetError> {
    let now = OffsetDateTime::now_utc();
    for family in botnets.families().await? {
        if family.name.starts_with(PREFIX) && now - family.created_at > LEFT_OVER {
            botnets.delete_family(family.id).await?;
        }
    }
    let name = format!("{PREFIX}{:016x}", rand::random::<u64>());
    botnets.add_family(&name, &[], false).await
}

async fn check(botnets: &Botnets, family: &Family, report: &mut Report) {
    let began = Instant::now();
    let sightings = sightings(OffsetDateTime::now_utc());
    let stored = store(botnets, family, &sightings).await;
    let is_stored = stored.is_ok();
    report.add("store", began, stored);
    if !is_stored {
        return;
    }
    let subject = Subject {
        id: family.id,
        name: family.name.clone(),
    };
    let expected = expected(&sightings);
    let began = Instant::now();
    report.add(
        "aggregation",
        began,
        aggregate(botnets, &subject, &expected).await,
    );
    let began = Instant::now();
    report.add(
        "statistics",
        began,
        compare(botnets, &subject, &expected).await,
    );
}

/// Lines about addresses with a known place, and about others, over two hours; each twice, at two
/// times.
fn sightings(now: OffsetDateTime) -> Vec<Sighting> {
    let atlas = Atlas::embedded();
    let known = KNOWN
        .iter()
        .filter_map(|(address, ..)| address.parse().ok());
    let others = (0..NODES).map(|n| IpAddr::from(Ipv4Addr::from(0x0100_0000 + n * 65_537)));
    let addresses = known.chain(others);
    let at = |address, minutes| {
        let seen_at = now - time::Duration::minutes(minutes);
        Sighting::new(address, seen_at, Some(23), atlas.locate(address))
    };
    addresses
        .flat_map(|address| [at(address, 90), at(address, 5)])
        .collect()
}

fn expected(sightings: &[Sighting]) -> Expected {
    let codes = |place: &Place| {
        let [country, province, city] = [place.country(), place.province(), place.city()];
        (country.to_owned(), province.to_owned(), city.to_owned())
    };
    let mut expected = Expected::new();
    // The two sightings of a node stand together.
    for pair in sightings.chunks(2) {
        let (nodes, communications) = expected.entry(codes(&pair[0].place)).or_default();
        *nodes += 1;
        *communications += pair.len() as i64;
    }
    expected
}

/// Stores them as a log is stored, and again: the second time nothing is counted.
async fn store(
    botnets: &Botnets,
    family: &Family,
    sightings: &[Sighting],
) -> Result<Finding, Failure> {
    let fail = |error: BotnetError| Failure::new(error, LOOK);
    let edition = botnets
        .edition(Atlas::embedded().edition())
        .await
        .map_err(fail)?;
    let upload: Upload = botnets
        .begin_upload(family, Some("self-test"), "self-test", "auto")
        .await
        .map_err(fail)?;
    let line = |of: &Sighting| {
        let at = of.seen_at.format(&Rfc3339).unwrap_or_default();
        format!("{at},{},{}\n", of.address, of.port.unwrap_or_default())
    };
    let raw: String = sightings.iter().map(line).collect();
    let lines = sightings.len() as u64;
    let chunk = Chunk {
        index: 0,
        first_line: 1,
        figures: Figures {
            lines,
            accepted: lines,
            ..Figures::default()
        },
        rejections: Rejections::default(),
        raw: Bytes::from(raw),
        edition,
        sightings: sightings.to_vec(),
    };
    let first = botnets
        .store_chunk(&upload, chunk.clone())
        .await
        .map_err(fail)?;
    let again = botnets.store_chunk(&upload, chunk).await.map_err(fail)?;
    botnets.finish_upload(&upload).await.map_err(fail)?;
    let is_new = matches!(first, StoredChunk::New(..));
    let is_known = matches!(again, StoredChunk::Known(..));
    match (is_new && is_known, again.figures() == first.figures()) {
        (true, true) => Ok(Finding::new(format!(
            "{lines} lines, the same again only once"
        ))),
        _ => Err(Failure::new(
            "lines that were sent twice were not recognised",
            LOOK,
        )),
    }
}

/// Rebuilds the statistics, which must have been right before.
async fn aggregate(
    botnets: &Botnets,
    subject: &Subject,
    expected: &Expected,
) -> Result<Finding, Failure> {
    let rebuilt = rebuild(botnets.pool(), subject, Trigger::SelfTest)
        .await
        .map_err(|error| Failure::new(error, LOOK))?;
    let Some(rebuilt) = rebuilt else {
        return Err(Failure::new("the family has no nodes", LOOK));
    };
    let nodes: i64 = expected.values().map(|(nodes, _)| nodes).sum();
    match rebuilt.drift.is_none() && rebuilt.nodes == nodes {
        true => Ok(Finding::new(format!(
            "{nodes} nodes → {} rows in {:.2} s, no drift",
            rebuilt.places,
            rebuilt.took.as_secs_f64()
        ))),
        false => Err(Failure::new(
            format!("{} of {nodes} nodes, {:?}", rebuilt.nodes, rebuilt.drift),
            LOOK,
        )),
    }
}

/// Compares what the statistics say with what was sent, and the nodes with their communications.
async fn compare(
    botnets: &Botnets,
    subject: &Subject,
    expected: &Expected,
) -> Result<Finding, Failure> {
    let fail = |error: sqlx::Error| Failure::new(error, LOOK);
    let rows: Vec<(String, String, String, i64, i64)> = sqlx::query_as(
        "SELECT p.country, p.province, p.city, sum(s.nodes)::int8, sum(s.communications)::int8
         FROM (
             SELECT place_id, nodes, communications FROM botnet_statistics WHERE family_id = $1
             UNION ALL
             SELECT of.place_id, of.nodes, of.communications
             FROM botnet_deltas d,
                  unnest(d.place_ids, d.nodes, d.communications)
                      AS of (place_id, nodes, communications)
             WHERE d.family_id = $1
         ) s
         JOIN botnet_places p ON p.place_id = s.place_id
         GROUP BY p.country, p.province, p.city",
    )
    .bind(subject.id)
    .fetch_all(botnets.pool())
    .await
    .map_err(fail)?;
    let found: Expected = rows
        .into_iter()
        .map(|(country, province, city, nodes, communications)| {
            ((country, province, city), (nodes, communications))
        })
        .collect();
    if found != *expected {
        let differs = expected
            .iter()
            .find(|(place, of)| found.get(*place) != Some(of));
        return Err(Failure::new(
            format!(
                "{} places instead of {}, such as {differs:?}",
                found.len(),
                expected.len()
            ),
            LOOK,
        ));
    }
    let report = audit(botnets.pool(), std::slice::from_ref(subject), 100.0)
        .await
        .map_err(fail)?;
    let alerts: Vec<_> = report.families.iter().flat_map(|of| &of.alerts).collect();
    match report.clean {
        true => Ok(Finding::new(format!(
            "{} places as counted, coverage 100 %",
            found.len()
        ))),
        false => Err(Failure::new(format!("{alerts:?}"), LOOK)),
    }
}

async fn remove(botnets: &Botnets, family: &Family) -> Result<Finding, Failure> {
    let remedy = format!("remove it by hand: DELETE /api/v1/botnets/{}", family.name);
    if let Err(error) = botnets.delete_family(family.id).await {
        return Err(Failure::new(error, &remedy));
    }
    // The rows of families that somebody else removed go with those of this one.
    match timeout(REMOVAL, botnets.remove_rest()).await {
        Ok(Ok(_)) => Ok(Finding::new("nothing is left")),
        Ok(Err(error)) => Err(Failure::new(error, LOOK)),
        Err(_) => Ok(Finding::new(
            "the family is gone; the server removes its rows",
        )),
    }
}

//! Delays between each two places over a range of time.

use std::{collections::HashMap, net::IpAddr};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{Clocks, MAX_ROUND, Question, cookie, sweep::Sweep, tolerance, trust, wish};
use crate::{
    api::{
        Api,
        columns::{Address, Agent},
        extract::Parameters,
        problem::Problem,
        range::{self, Range},
    },
    ntp::joined::{Joined, Kind, Missing, PairStatistics, Place, Statistics, Summary},
};

/// Pairs of places of one answer.
const MAX_PAIRS: usize = 1000;

/// Several values of one parameter are separated by commas.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JoinedStatisticsParameters {
    /// Seen by these agents, ids or aliases; by default those that ever saw the client and the server.
    #[serde(alias = "agents")]
    agent: Option<String>,
    /// Seen on this interface.
    interface: Option<String>,
    /// The client's IP address, or a network. Behind a NAT the client has several: name each.
    #[param(example = "192.0.2.0/24")]
    client: Option<String>,
    /// The server's IP address, or a network.
    server: Option<String>,
    /// Whether one-way delays are also taken from sensors whose kernels do not say that their clocks are
    /// synchronised: `kernel` (no) or `assumed` (yes; the round trip alone bounds the error).
    #[param(value_type = Option<Clocks>, inline)]
    clocks: Option<String>,
    /// How far apart sensors' stamps of one exchange may lie, seconds.
    #[param(value_type = Option<f64>, minimum = 0, maximum = 60, default = 5)]
    tolerance: Option<String>,
    /// Last seen at this time or later; an hour before `to` by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Last seen before this time; now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// What the exchanges of a range come to.
#[derive(Serialize, ToSchema)]
pub struct NtpJoinedStatistics {
    /// Between each two places, those with the most exchanges first; at most 1000.
    items: Vec<PairShape>,
    items_left_out: usize,
    /// Exchanges that were seen at several places.
    joined: u64,
    /// Exchanges that were seen at one.
    alone: u64,
    /// Sightings that nothing told apart: transmit timestamps that repeat, without an answer.
    ambiguous: u64,
    /// Newer exchanges are in: all of the range, if this is its `from`. An answer takes in what 200,000
    /// rows hold.
    #[serde(with = "time::serde::rfc3339")]
    reaches_back_to: OffsetDateTime,
}

/// From one place to another that is nearer to the server, and back.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpPair)]
struct PairShape {
    #[schema(inline)]
    client: Address,
    #[schema(inline)]
    server: Address,
    from: PlaceShape,
    to: PlaceShape,
    /// Whether nobody was seen between the two.
    neighbours: bool,
    /// Seen at both.
    exchanges: usize,
    /// What requests took.
    forward: SummaryShape,
    /// What responses took.
    backward: SummaryShape,
    /// What the way there is longer.
    asymmetry: SummaryShape,
    /// Both ways, by monotonic clocks.
    round_trip: SummaryShape,
    /// Every one-way delay is right within this; null: of some it is not known.
    error_ns: Option<u64>,
    /// The server's clock minus the sensor's, as the place nearer to the client measured it.
    offset_at_from: SummaryShape,
    /// And as the place nearer to the server did: the two differ by half the asymmetry.
    offset_at_to: SummaryShape,
    /// Why one-way delays are missing, and of how many exchanges.
    null_reasons: Vec<ReasonShape>,
}

/// A place of a sensor.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpPlace)]
struct PlaceShape {
    #[schema(inline)]
    agent: Agent,
    agent_alias: String,
    interface: String,
    vlan: i32,
    inner_vlan: i32,
}

/// Exact order statistics.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpSummary)]
struct SummaryShape {
    count: usize,
    median_ns: Option<i64>,
    p95_ns: Option<i64>,
}

/// A reason, and how often.
#[derive(Serialize, ToSchema)]
#[schema(as = NtpReason)]
struct ReasonShape {
    reason: &'static str,
    count: usize,
}

/// Median and p95 of one-way delays, asymmetry and round trips between each two places that saw the same
/// exchanges.
#[utoipa::path(
    get,
    path = "/api/v1/ntp/joined/statistics",
    tag = "ntp",
    operation_id = "show_joined_ntp_statistics",
    params(JoinedStatisticsParameters),
    responses((status = 200, description = "All pairs of places", body = NtpJoinedStatistics))
)]
pub async fn show(
    State(api): State<Api>,
    Parameters(parameters): Parameters<JoinedStatisticsParameters>,
) -> Result<Json<NtpJoinedStatistics>, Problem> {
    let question = parameters.question()?;
    let range = parameters.range()?;
    let bounds = question.bounds(range);
    let mut sweep = Sweep::new(&api.database, &question.wish, bounds).await?;
    let mut statistics = Statistics::default();
    let (mut joined, mut alone, mut ambiguous) = (0, 0, 0);
    while let Some(groups) = sweep.next(MAX_ROUND).await? {
        for group in groups {
            match group.kind {
                Kind::Joined => {
                    joined += 1;
                    statistics.add(&Joined::new(group.sightings, question.trust));
                }
                Kind::Alone => alone += 1,
                Kind::Ambiguous => ambiguous += group.sightings.len() as u64,
            }
        }
    }
    let reaches_back_to = match sweep.position() {
        Some((at_us, ..)) => range::time_of_unix_us(at_us).unwrap_or(range.from),
        None => range.from,
    };
    let mut pairs = statistics.finish();
    let items_left_out = pairs.len().saturating_sub(MAX_PAIRS);
    pairs.truncate(MAX_PAIRS);
    let shape = |pair| PairShape::new(pair, sweep.aliases());
    Ok(Json(NtpJoinedStatistics {
        items: pairs.into_iter().map(shape).collect(),
        items_left_out,
        joined,
        alone,
        ambiguous,
        reaches_back_to,
    }))
}

impl JoinedStatisticsParameters {
    fn question(&self) -> Result<Question, Problem> {
        Ok(Question {
            wish: wish(
                self.agent.as_deref(),
                self.interface.as_deref(),
                self.client.as_deref(),
                self.server.as_deref(),
            ),
            cookie: cookie(None)?,
            trust: trust(self.clocks.as_deref())?,
            tolerance: tolerance(self.tolerance.as_deref())?,
        })
    }

    fn range(&self) -> Result<Range, Problem> {
        let now = OffsetDateTime::now_utc();
        Range::parse(self.from.as_deref(), self.to.as_deref(), now)
    }
}

impl PairShape {
    fn new(pair: PairStatistics, aliases: &HashMap<i64, String>) -> Self {
        let address = |ip: IpAddr| Address(ip.into());
        let reason = |(reason, count): (Missing, usize)| ReasonShape {
            reason: reason.name(),
            count,
        };
        Self {
            client: address(pair.client),
            server: address(pair.server),
            from: PlaceShape::new(pair.from, aliases),
            to: PlaceShape::new(pair.to, aliases),
            neighbours: pair.neighbours,
            exchanges: pair.exchanges,
            forward: pair.forward.into(),
            backward: pair.backward.into(),
            asymmetry: pair.asymmetry.into(),
            round_trip: pair.round_trip.into(),
            error_ns: pair.error_ns,
            offset_at_from: pair.offset_from.into(),
            offset_at_to: pair.offset_to.into(),
            null_reasons: pair.missing.into_iter().map(reason).collect(),
        }
    }
}

impl PlaceShape {
    fn new(place: Place, aliases: &HashMap<i64, String>) -> Self {
        Self {
            agent: Agent(place.agent),
            agent_alias: aliases.get(&place.agent).cloned().unwrap_or_default(),
            interface: place.interface,
            vlan: place.vlans.0,
            inner_vlan: place.vlans.1,
        }
    }
}

impl From<Summary> for SummaryShape {
    fn from(summary: Summary) -> Self {
        Self {
            count: summary.count,
            median_ns: summary.median,
            p95_ns: summary.p95,
        }
    }
}

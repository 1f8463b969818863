//! The newest values of an agent, as they came in its last live frame.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use netmon_common::wire;
use serde::Serialize;
use utoipa::ToSchema;

use super::AgentSegment;
use crate::{
    api::{Api, columns::UnixNanoseconds, extract::Segments, problem::Problem},
    live::FRESH,
};

/// The newest values of one agent. They are shown, not stored.
#[derive(Serialize, ToSchema)]
pub struct Live {
    /// When the agent took them, by its clock.
    #[schema(inline)]
    at: UnixNanoseconds,
    /// The time the rates were taken over.
    interval_ms: u64,
    interfaces: Vec<LiveInterface>,
    ntp: LiveNtp,
    /// What the sensor could not account for, by cause, since the agent started.
    losses: BTreeMap<String, u64>,
    outbox: Outbox,
}

/// The newest values of one interface.
#[derive(Serialize, ToSchema)]
pub struct LiveInterface {
    name: String,
    ifindex: u32,
    /// How the sensor is attached.
    #[schema(example = "tcx")]
    attach_mode: String,
    ingress: LiveDirection,
    egress: LiveDirection,
}

/// Rates over the interval, and totals since the sensor attached. Rates are null for an interval of
/// no length.
#[derive(Serialize, ToSchema)]
pub struct LiveDirection {
    bits_per_second: Option<f64>,
    packets_per_second: Option<f64>,
    /// Of packets as they travelled on the wire; null without packets.
    average_packet_bytes: Option<f64>,
    packets_total: u64,
    bytes_total: u64,
}

/// Running totals since the agent started.
#[derive(Serialize, ToSchema)]
pub struct LiveNtp {
    packets_total: u64,
    exchanges_total: u64,
    unanswered_total: u64,
}

/// What waits at the agent for the server.
#[derive(Serialize, ToSchema)]
pub struct Outbox {
    batches: u64,
    bytes: u64,
}

/// The newest values of an agent.
///
/// 404 `no_live_data` when they are older than 15 s.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{agent}/live",
    tag = "agents",
    operation_id = "show_live",
    params(AgentSegment),
    responses((status = 200, description = "The newest values", body = Live))
)]
pub async fn show(
    State(api): State<Api>,
    Segments(AgentSegment { agent }): Segments<AgentSegment>,
) -> Result<Json<Live>, Problem> {
    let agent = super::find(&api.database, &agent).await?.id();
    match api.live.newest(agent) {
        Some(snapshot) => Ok(Json(Live::from(&*snapshot.live))),
        None => Err(Problem::NoLiveData(FRESH.as_secs())),
    }
}

impl From<&wire::Live> for Live {
    fn from(live: &wire::Live) -> Self {
        let interfaces = live.interfaces.iter();
        Self {
            at: UnixNanoseconds(live.at_unix_ns),
            interval_ms: live.interval_us.saturating_add(500) / 1000,
            interfaces: interfaces
                .map(|i| LiveInterface::new(i, live.interval_us))
                .collect(),
            ntp: LiveNtp {
                packets_total: live.ntp_packets,
                exchanges_total: live.ntp_exchanges,
                unanswered_total: live.ntp_unanswered,
            },
            losses: live.losses.clone().into_iter().collect(),
            outbox: Outbox {
                batches: live.outbox_batches,
                bytes: live.outbox_bytes,
            },
        }
    }
}

impl LiveInterface {
    fn new(interface: &wire::LiveInterface, interval_us: u64) -> Self {
        Self {
            name: interface.name.clone(),
            ifindex: interface.ifindex,
            attach_mode: interface.attach_mode.clone(),
            ingress: LiveDirection::new(interface.ingress, interface.ingress_total, interval_us),
            egress: LiveDirection::new(interface.egress, interface.egress_total, interval_us),
        }
    }
}

impl LiveDirection {
    fn new(delta: Option<wire::Counters>, total: Option<wire::Counters>, interval_us: u64) -> Self {
        let (delta, total) = (delta.unwrap_or_default(), total.unwrap_or_default());
        let (size, count) = match delta.wire_packets {
            0 => (delta.bytes, delta.packets),
            wire_packets => (delta.wire_bytes, wire_packets),
        };
        Self {
            bits_per_second: ratio(delta.bytes as f64 * 8e6, interval_us),
            packets_per_second: ratio(delta.packets as f64 * 1e6, interval_us),
            average_packet_bytes: ratio(size as f64, count),
            packets_total: total.packets,
            bytes_total: total.bytes,
        }
    }
}

fn ratio(dividend: f64, divisor: u64) -> Option<f64> {
    (divisor != 0).then(|| dividend / divisor as f64)
}

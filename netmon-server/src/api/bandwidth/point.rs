//! One point of bandwidth.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::api::range;

/// What was carried in one length of time.
#[derive(Serialize, ToSchema)]
pub struct Point {
    /// When the point begins: a multiple of its length since 1970. The first may begin before
    /// `from`; it still counts only samples of the range.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    ingress: Direction,
    egress: Direction,
    /// Samples in the point.
    samples: i64,
    /// Of them, how many are implausible.
    flagged: i64,
}

/// One direction. Sums count every sample; rates and the average leave implausible samples out and
/// are null when no other is left. Rates of an agent are the sum of its interfaces' rates.
#[derive(Serialize, ToSchema)]
pub struct Direction {
    bytes: i64,
    packets: i64,
    /// As on the wire: a GSO or GRO buffer counts as the packets it stands for.
    wire_bytes: i64,
    wire_packets: i64,
    bits_per_second: Option<f64>,
    packets_per_second: Option<f64>,
    wire_bits_per_second: Option<f64>,
    wire_packets_per_second: Option<f64>,
    /// The best single sample; of an agent, of any of its interfaces.
    peak_bits_per_second: Option<f64>,
    /// Of packets as on the wire; null without packets.
    average_packet_bytes: Option<f64>,
}

/// A row of `points.sql`.
#[derive(sqlx::FromRow)]
pub struct PointRow {
    point: i64,
    samples: i64,
    flagged: i64,
    ingress_bytes: i64,
    ingress_packets: i64,
    ingress_wire_bytes: i64,
    ingress_wire_packets: i64,
    egress_bytes: i64,
    egress_packets: i64,
    egress_wire_bytes: i64,
    egress_wire_packets: i64,
    ingress_bits_per_second: Option<f64>,
    ingress_packets_per_second: Option<f64>,
    ingress_wire_bits_per_second: Option<f64>,
    ingress_wire_packets_per_second: Option<f64>,
    egress_bits_per_second: Option<f64>,
    egress_packets_per_second: Option<f64>,
    egress_wire_bits_per_second: Option<f64>,
    egress_wire_packets_per_second: Option<f64>,
    ingress_peak_bits_per_second: Option<f64>,
    egress_peak_bits_per_second: Option<f64>,
    ingress_average_packet_bytes: Option<f64>,
    egress_average_packet_bytes: Option<f64>,
}

impl PointRow {
    /// The point, of a length in microseconds.
    pub fn point(self, step_us: i64) -> Point {
        let at = range::time_of_unix_us(self.point.saturating_mul(step_us));
        Point {
            // A point begins within the step before a time of the range, which are all valid.
            at: at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            ingress: Direction {
                bytes: self.ingress_bytes,
                packets: self.ingress_packets,
                wire_bytes: self.ingress_wire_bytes,
                wire_packets: self.ingress_wire_packets,
                bits_per_second: self.ingress_bits_per_second,
                packets_per_second: self.ingress_packets_per_second,
                wire_bits_per_second: self.ingress_wire_bits_per_second,
                wire_packets_per_second: self.ingress_wire_packets_per_second,
                peak_bits_per_second: self.ingress_peak_bits_per_second,
                average_packet_bytes: self.ingress_average_packet_bytes,
            },
            egress: Direction {
                bytes: self.egress_bytes,
                packets: self.egress_packets,
                wire_bytes: self.egress_wire_bytes,
                wire_packets: self.egress_wire_packets,
                bits_per_second: self.egress_bits_per_second,
                packets_per_second: self.egress_packets_per_second,
                wire_bits_per_second: self.egress_wire_bits_per_second,
                wire_packets_per_second: self.egress_wire_packets_per_second,
                peak_bits_per_second: self.egress_peak_bits_per_second,
                average_packet_bytes: self.egress_average_packet_bytes,
            },
            samples: self.samples,
            flagged: self.flagged,
        }
    }
}

//! From NTP packets to exchanges: pure logic on (packet, now).

mod dedupe;
mod exchange;
mod measure;
mod packet;
mod pairing;
mod throttle;

pub use dedupe::Dedupe;
pub use exchange::{Exchange, Match};
pub use measure::{Measurement, measure};
pub use packet::{Packet, Scope, Unpaired};
pub use pairing::{Limits, Pairing, Tally};
pub use throttle::Throttle;

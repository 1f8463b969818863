//! From NTP packets to exchanges: pure logic on (packet, now).
//!
//! ```text
//! Packet::decode ── Dedupe ── Observer ─┬─ Pairing    requests and responses
//!                                       ├─ Peers      symmetric modes
//!                                       ├─ Dialogues  modes 6 and 7
//!                                       └─ measure    with what Associations remember
//! ```
//!
//! What comes out of it goes through [`fold`] on its way to the server.

mod association;
mod dedupe;
mod dialogue;
mod exchange;
pub mod fold;
mod measure;
mod message;
mod monitoring;
mod observer;
mod packet;
mod pairing;
mod peers;
mod recent;
mod throttle;

pub use association::{Association, ClientView};
pub use dedupe::Dedupe;
pub use dialogue::{Dialogue, Outcome};
pub use exchange::{Exchange, Match, Remarks};
pub use measure::{Gate, Measurement, Place, Surroundings, Vantage, measure};
pub use monitoring::{Monitoring, Plan, Tap, Terms, Unwanted, Wishes};
pub use observer::{Finding, Found, Limits, Load, Observer};
pub use packet::{
    Content, Identifier, Packet, Question, Refusal, Role, Scope, Subject, Time, Unpaired,
};
pub use pairing::{Pairing, Tally};
pub use throttle::Throttle;

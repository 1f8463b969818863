//! Flows: what the kernel's flow maps hold, and the form the agent works with.
//!
//! A flow is a 5-tuple on one interface and VLAN, both ways together. Keys are canonical, the lower
//! endpoint first, so that a packet and its answer find the same entry with one look-up.

mod event;
mod key;
mod record;
mod sighting;
#[cfg(feature = "std")]
mod table;
mod untracked;
mod value;

pub use event::{FlowEvent, FlowEventKind};
pub(crate) use key::double;
pub use key::{FlowKey, FlowKey4, FlowKey6, Side};
pub use record::{Flow, Icmp, Payload, TcpSummary, WatchMark};
pub use sighting::{Sighting, first_octets};
#[cfg(feature = "std")]
pub use table::FlowTable;
pub use untracked::{Untracked, UntrackedCounters};
pub use value::{FlowCounters, FlowValue, pack_payload};

/// Octets of payload that a flow remembers: enough to tell protocols apart.
pub const PAYLOAD_OCTETS: usize = 4;

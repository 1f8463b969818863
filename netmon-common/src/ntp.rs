//! The Network Time Protocol on the wire (RFC 5905): any octets give a value or a named error.

mod control;
mod header;
mod message;
mod partial;
mod ports;
mod private;
mod reference;
mod timestamp;
mod trailer;

pub use control::Control;
pub use header::{Header, Malformed, Mode};
pub use message::{Message, Version5};
pub use partial::PartialHeader;
pub use ports::{NtpPorts, NtpPortsError, PortSlots};
pub use private::Private;
pub use reference::Reference;
pub use timestamp::{NtpDuration, NtpTimestamp};
pub use trailer::{ExtensionField, Mac, Trailer, extension};

/// The UDP port of NTP; see [`NtpPorts`] for others.
pub const PORT: u16 = 123;

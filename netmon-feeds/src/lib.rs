//! Logs and lists of botnet nodes: which address was seen, when, by which port.
//!
//! [`Cutter`] cuts a stream of octets into chunks of whole lines, the same ones however the octets
//! arrive; [`Parser`] gives every line exactly one outcome. Neither knows of files, sockets or
//! clocks, and no octets make them fail: a line that cannot be read is [`Line::Rejected`] with its
//! [`Reason`], and the next one is read as if it had not been there.
//!
//! ```
//! use netmon_feeds::{Line, Options, Parser};
//!
//! let mut parser = Parser::new(Options::default());
//! let line = parser.line(b"2026-11-20T10:00:00Z,114.114.114.114,4000");
//! assert!(matches!(line, Line::Sighting(sighting) if sighting.port == Some(4000)));
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod address;
mod cef;
mod columns;
mod country;
mod cut;
mod delimited;
mod family;
mod fields;
mod format;
mod instant;
mod json;
mod line;
mod maltrail;
mod parser;
mod plain;
mod reason;

pub use cut::{CHUNK_LINES, CHUNK_OCTETS, Cutter, MAX_LINE, RawChunk, lines};
pub use format::{Format, UnknownFormat};
pub use instant::parse_zone;
pub use line::{Line, Sighting, Skip};
pub use parser::{Options, Parser, Special};
pub use reason::Reason;

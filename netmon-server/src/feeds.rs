//! Logs of botnet nodes on their way in: decompressed, cut, read, located, stored chunk by chunk; and
//! whether those who send them still do.
//!
//! Everything about a log happens on a thread of its own ([`Reading`]), which hands whole chunks to
//! the task that stores them ([`receive()`]). Of an upload two chunks are in memory at most: the one
//! that is being stored and the one that is being read.

mod decoded;
mod options;
mod reading;
mod receive;
mod report;
pub mod reprocess;
pub mod watch;

pub use decoded::{Encoding, UnknownEncoding, decoded};
pub use options::LogOptions;
pub use reading::{Lines, Reading};
pub use receive::{ReceiveError, receive};
pub use report::{LineRejection, MAX_REJECTIONS, Report};

use crate::store::botnets::{CHUNK_BYTES, CHUNK_LINES};

// Chunks are cut where the store says.
const _: () = assert!(netmon_feeds::CHUNK_LINES as usize == CHUNK_LINES);
const _: () = assert!(netmon_feeds::CHUNK_OCTETS == CHUNK_BYTES);

//! What the host is busy with: processors, memory, disks, errors of interfaces, TCP, temperatures.
//!
//! [`Host`] reads files of `/proc` and `/sys`, [`parse`] understands them, [`Sampler`] turns two
//! readings into a sample. The parsers are our own: the crate `procfs` drops the numbers of the
//! cores, so that a core which goes offline would shift all after it, and it refuses a whole file
//! for one figure that a kernel or a container does not show.

mod collect;
mod host;
pub mod metrics;
pub mod parse;
mod reading;
mod sample;
mod sensors;
mod space;

pub use collect::{Collected, Collector};
pub use host::{Host, Source};
pub use reading::{Reading, Space};
pub use sample::Sampler;

use netmon_common::wire::SystemSample;

/// What of a sample is shown live: the host as a whole, its file systems and temperatures.
pub fn brief(sample: &SystemSample) -> SystemSample {
    SystemSample {
        cores: None,
        block_devices: Vec::new(),
        network_errors: None,
        tcp: None,
        ..sample.clone()
    }
}

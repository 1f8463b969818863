//! From counters to samples and frames: pure arithmetic on (counters, now).

mod frame;
mod sample;

pub use frame::{FrameBuilder, message as counters_message};
pub use sample::{Flags, Sample, Sampler, Totals};

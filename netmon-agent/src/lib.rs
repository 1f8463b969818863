//! The netmon agent: counts every packet in the kernel, pairs NTP requests with responses, and
//! streams both to the server without losing a record.
//!
//! Logic takes (event, now) and returns records: `bandwidth`, `ntp` and the books of `spool` own no
//! socket, read no clock and spawn no task. I/O stays in `sensor`, `interfaces`, `uplink`, `run` and
//! the spool's keeper.

pub mod bandwidth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod flows;
mod heap;
pub mod interfaces;
pub mod metrics;
pub mod ntp;
pub mod replay;
pub mod run;
mod sealed;
pub mod sensor;
pub mod spool;
pub mod status;
pub mod system;
pub mod uplink;
pub mod watch;

//! What the kernel programs, the agent and the server share.
//!
//! `no_std` so that the kernel programs can use it; nothing here does I/O or reads a clock.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

pub mod counters;
pub mod event;
pub mod flow;
pub mod loss;
pub mod ntp;
pub mod packet;
pub mod watch;
#[cfg(feature = "wire")]
pub mod wire;

//! Real networks for demonstrations and tests: unnamed network namespaces, veth pairs, a relay with
//! delay, unmodified chrony.
//!
//! Everything here vanishes with the process that made it, also when that process is killed:
//! namespaces have no name and live by an open file descriptor, veth pairs live by their
//! namespaces, programs are ended by the kernel (`PR_SET_PDEATHSIG`). Needs root and iproute2.
#![deny(missing_docs)]

pub mod child;
pub mod chrony;
pub mod demo;
pub mod http;
pub mod link;
pub mod mounts;
pub mod namespace;
pub mod programs;
pub mod psql;
pub mod relay;
pub mod statistics;
pub mod traffic;
pub mod wait;

pub use child::{Child, Signal, run};
pub use demo::DemoNet;
pub use mounts::{Mount, Mounts};
pub use namespace::Namespace;
pub use programs::workspace_binary;
pub use psql::psql;
pub use relay::Relay;
pub use statistics::InterfaceStatistics;
pub use wait::wait_until;

//! Real networks for demonstrations and tests: unnamed network namespaces, veth pairs, a relay with
//! delay, unmodified NTP daemons; and how an agent and a server are run and watched in them.
//!
//! Everything here vanishes with the process that made it, also when that process is killed:
//! namespaces have no name and live by an open file descriptor, veth pairs live by their
//! namespaces, programs are ended by the kernel (`PR_SET_PDEATHSIG`). Needs root and iproute2.
#![deny(missing_docs)]

pub mod child;
pub mod chrony;
pub mod clockless;
pub mod cpus;
pub mod database;
pub mod demo;
pub mod flood;
pub mod frames;
pub mod http;
pub mod identity;
pub mod link;
pub mod log;
pub mod machine;
pub mod mounts;
pub mod namespace;
pub mod ntplib;
pub mod ntpsec;
pub mod openntpd;
pub mod privileges;
pub mod programs;
pub mod psql;
pub mod relay;
pub mod server;
pub mod statistics;
pub mod traffic;
pub mod wait;

pub use child::{Child, Signal, run};
pub use demo::DemoNet;
pub use flood::Flood;
pub use machine::machine;
pub use mounts::{Mount, Mounts};
pub use namespace::Namespace;
pub use programs::workspace_binary;
pub use psql::{psql, psql_numbers};
pub use relay::Relay;
pub use statistics::InterfaceStatistics;
pub use wait::{patient, wait_until};

//! A whole netmon (agent, server and PostgreSQL on real traffic), or of it what tracks botnets, broken at
//! random moments.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod botnets;
pub mod chaos;

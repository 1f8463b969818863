//! A whole netmon (agent, server and PostgreSQL on real traffic), broken at random moments.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod chaos;

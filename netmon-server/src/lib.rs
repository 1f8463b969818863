//! The netmon server: receives batches from agents over QUIC, stores each exactly once in
//! PostgreSQL, and serves what is stored over REST and Prometheus.
#![deny(missing_docs)]

pub mod agent_id;
pub mod api;
pub mod audit;
pub mod botnets;
pub mod cli;
pub mod commands;
pub mod config;
pub mod database;
pub mod feeds;
pub mod geo;
pub mod ingest;
pub mod live;
pub mod metrics;
mod ntp;
pub mod pki;
pub mod postgres;
pub mod serve;
pub mod store;
mod watch_text;

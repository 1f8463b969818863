//! The REST API over a real PostgreSQL: one file per group of routes.
// The json! of one exchange needs it.
#![recursion_limit = "256"]

mod cluster;
mod server;

mod agents;
mod bandwidth;
mod botnet_amounts;
mod botnet_families;
mod botnet_first_steps;
mod botnet_import;
mod botnet_logs;
mod botnet_node;
mod botnet_nodes;
mod botnet_plans;
mod botnet_statistics;
mod botnet_upload_logs;
mod botnets;
mod docs;
mod geo;
mod health;
mod interfaces;
mod live;
mod metrics;
mod ntp_cleanup;
mod ntp_clients;
mod ntp_controls;
mod ntp_exchanges;
mod ntp_export;
mod ntp_joined;
mod ntp_monitoring;
mod ntp_overview;
mod ntp_search;
mod ntp_statistics;
mod openapi;
mod plans;
mod problems;
mod system;
mod watch;

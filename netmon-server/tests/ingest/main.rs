//! Agents over real QUIC on 127.0.0.1, and a real PostgreSQL.

mod agent;
mod authority;
#[path = "../store/batch.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod batch;
#[path = "../api/cluster.rs"]
mod cluster;
#[path = "../store/database.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod database;
mod server;

mod bad_streams;
mod control;
mod delivery;
mod handshakes;
mod herd;
mod outage;
mod shutdown;
mod streams;
mod together;
mod watch_list;
mod wishes;
mod writers;

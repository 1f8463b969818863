//! Ageing over a real PostgreSQL: raw rows become sums and go, and no answer changes by it.

#[path = "../store/batch.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod batch;
#[path = "../api/cluster.rs"]
#[expect(dead_code, reason = "shared with tests that stop the database")]
mod cluster;
#[path = "../api/server.rs"]
#[expect(dead_code, reason = "shared with the tests of the API")]
mod server;
mod site;

mod answers;
mod delivered;
mod disk;
mod drops;
mod exchanges;
mod folds;
mod leadership;
mod rolls;

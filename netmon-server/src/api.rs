//! The REST API with its OpenAPI description, the health checks and the metrics endpoint.
//!
//! What reads runs on a small pool of its own whose sessions are read-only and limited in time, so that
//! no request can hold up the ingest; the few requests that change something have one connection. `docs/api.md` is the guide for
//! callers; [`router`](router()) holds the whole route table.
#![expect(
    unused_qualifications,
    reason = "utoipa's macros repeat the path of every type they name"
)]

mod agents;
mod audit;
mod bandwidth;
mod botnets;
mod columns;
mod cursor;
mod docs;
mod extract;
mod file;
mod geo;
mod health;
mod listing;
mod metrics;
mod ntp;
mod openapi;
mod problem;
mod range;
mod router;
mod sources;
mod system;
mod watch;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use sqlx::{PgPool, postgres::PgPoolOptions};

pub use openapi::document;
pub use router::{paths, router};

use crate::{
    geo::Geo,
    ingest::{Prompt, WatchList},
    live::LiveBoard,
    metrics::Metrics,
    store::botnets::Botnets,
};

/// Connections the API may hold; a request beyond them waits its turn.
const MAX_CONNECTIONS: u32 = 4;

/// How long a request waits for a connection before it is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long PostgreSQL works on one statement of the API before it gives up.
const STATEMENT_TIMEOUT: &str = "20s";

/// How long a request may take in all: statements follow each other, and a database that hangs does
/// not keep to its time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

/// What the API shows.
#[derive(Clone)]
pub struct ApiState {
    /// The server's pool: only its connect options are used.
    pub pool: PgPool,
    /// The newest values of every connected agent.
    pub live: Arc<LiveBoard>,
    /// Families, nodes and communications, for what changes them.
    pub botnets: Arc<Botnets>,
    /// Where addresses are.
    pub geo: Arc<Geo>,
    /// What agents are to watch.
    pub watch_list: Arc<WatchList>,
    /// Says that something was wished.
    pub prompt: Arc<Prompt>,
    /// The server's own metrics.
    pub metrics: Arc<Metrics>,
    /// True once the database is reachable and migrated.
    pub ready: Arc<AtomicBool>,
    /// Most interfaces `/metrics` shows one by one.
    pub max_interface_series: usize,
    /// Most file systems and sensors `/metrics` shows one by one.
    pub max_system_series: usize,
}

/// The state handlers get: what is shown, and the way to read what is stored.
#[derive(Clone)]
struct Api {
    database: PgPool,
    /// For the few requests that change something.
    changes: PgPool,
    live: Arc<LiveBoard>,
    botnets: Arc<Botnets>,
    places: Arc<botnets::Places>,
    geo: Arc<Geo>,
    watch_list: Arc<WatchList>,
    prompt: Arc<Prompt>,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    max_interface_series: usize,
    max_system_series: usize,
}

impl From<ApiState> for Api {
    fn from(state: ApiState) -> Self {
        let options = (*state.pool.connect_options()).clone().options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            // Compiling a query takes longer than answering it.
            ("jit", "off"),
            ("work_mem", "16MB"),
        ]);
        let pool = |connections| {
            let options = PgPoolOptions::new().max_connections(connections);
            options.acquire_timeout(ACQUIRE_TIMEOUT)
        };
        let read_only = options
            .clone()
            .options([("default_transaction_read_only", "on")]);
        let database = pool(MAX_CONNECTIONS).connect_lazy_with(read_only);
        let changes = pool(1).connect_lazy_with(options);
        Self {
            database,
            changes,
            live: state.live,
            botnets: state.botnets,
            places: Arc::default(),
            geo: state.geo,
            watch_list: state.watch_list,
            prompt: state.prompt,
            metrics: state.metrics,
            ready: state.ready,
            max_interface_series: state.max_interface_series,
            max_system_series: state.max_system_series,
        }
    }
}

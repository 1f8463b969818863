//! The whole server: everything it consists of, started in order and stopped in reverse.

mod certificate;
mod listeners;
mod storage;

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use netmon_geo::GeoError;
use sqlx::PgPool;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use self::{listeners::Listeners, storage::Storage};
use crate::{
    api::{self, ApiState},
    audit,
    botnets::jobs::Jobs,
    config::Config,
    database::{self, DatabaseError},
    feeds,
    geo::{Geo, relocation},
    ingest::{self, Flush, Ingest, Limits, ListenError, Prompt, WatchList},
    live::LiveBoard,
    metrics::Metrics,
    pki::{PkiError, ServerCertificate},
    postgres::PostgresError,
    store::{Store, botnets::Botnets},
};

/// How long commits under way get to finish at the shutdown, and their acknowledgements to leave.
const COMMITS: Duration = Duration::from_secs(4);
const LINGER: Duration = Duration::from_secs(1);

/// How long everything together gets, requests included. With the database's 13 seconds and the
/// second for its connections the server is gone within 20.
const DRAIN: Duration = Duration::from_secs(6);

/// How long connections to the database get to close.
const CLOSE: Duration = Duration::from_secs(1);

/// Why the server ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// No files of places.
    #[error(transparent)]
    Geo(#[from] GeoError),
    /// No managed database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// No usable database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No socket for agents.
    #[error(transparent)]
    Quic(#[from] ListenError),
    /// No socket for requests.
    #[error("cannot listen for requests on TCP {address}: {source}; change http.listen")]
    Http {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A part that runs for ever ended.
    #[error("{part} ended unexpectedly: {reason}")]
    Ended {
        /// The part.
        part: &'static str,
        /// How it ended.
        reason: String,
    },
}

/// Runs the server until `shutdown` is cancelled, then stops it in order within 20 seconds.
///
/// Requests are answered from the first moment (`/livez`), `/readyz` says when the database is
/// there; agents are let in from then on.
pub async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), ServeError> {
    let storage = Storage::open(&config).await?;
    let certificate = ServerCertificate::open(&config)?;
    let listeners = Listeners::bind(&config, certificate.tls()?).await?;

    let mut parts = Parts::new(shutdown);
    let pool = database::pool(storage.options(), config.database.max_connections);
    let metrics = Arc::new(Metrics::new());
    let botnets = Botnets::new(pool.clone(), &config.botnets).with_metrics(&metrics);
    let geo = Geo::open(&config.geo, metrics.geo.clone())?;
    tracing::info!(edition = geo.current().edition().description, "places");
    let shared = Shared {
        live: Arc::new(LiveBoard::new()),
        prompt: Arc::default(),
        metrics,
        botnets: Arc::new(botnets),
        geo: Arc::new(geo),
        watch_list: Arc::default(),
        ready: Arc::new(AtomicBool::new(false)),
        pool: pool.clone(),
        audit_interval: config.audit.interval,
        flush: Flush {
            interval: config.ingest.flush_interval,
            rows: config.ingest.flush_rows,
            bytes: config.ingest.flush_bytes,
        },
    };
    let ntp = &shared.metrics.ntp;
    ntp.show_servers(&config.metrics.ntp_servers);
    let router = api::router(ApiState {
        pool: pool.clone(),
        live: Arc::clone(&shared.live),
        botnets: Arc::clone(&shared.botnets),
        geo: Arc::clone(&shared.geo),
        watch_list: Arc::clone(&shared.watch_list),
        prompt: Arc::clone(&shared.prompt),
        metrics: Arc::clone(&shared.metrics),
        ready: Arc::clone(&shared.ready),
        max_interface_series: config.metrics.max_interface_series,
        max_system_series: config.metrics.max_system_series,
    });
    tracing::info!(address = %listeners.http_address, "HTTP listens");
    let stopped = parts.shutdown.clone().cancelled_owned();
    let http = axum::serve(listeners.http, router).with_graceful_shutdown(stopped);
    parts.start("HTTP", async move {
        if let Err(error) = http.await {
            tracing::error!(%error, "HTTP");
        }
    });

    parts.start(
        "certificate",
        certificate::keep_fresh(
            certificate,
            config.quic.certificate_check_interval,
            Arc::clone(&shared.metrics),
            parts.shutdown.clone(),
        ),
    );

    let (running, started) = storage.start(&pool, &parts.shutdown).await;
    let outcome = match started {
        Ok(()) => {
            tracing::info!(psql = running.psql_command(), "the database is ready");
            shared.ready.store(true, Ordering::Release);
            let mut store = Store::new(pool.clone(), &config)
                .with_botnets(Arc::clone(&shared.botnets), Arc::clone(&shared.geo));
            if config.database.url.is_none() {
                // The managed database lies below it.
                store = store.guarding(config.data_dir.clone());
            }
            let store = Arc::new(store);
            run(&mut parts, store, &shared, listeners.quic).await
        }
        Err(
            ServeError::Database(DatabaseError::Stopped)
            | ServeError::Postgres(PostgresError::Stopped),
        ) => Ok(()),
        Err(error) => Err(error),
    };

    shared.ready.store(false, Ordering::Release);
    parts.stop().await;
    let _ = timeout(CLOSE, pool.close()).await;
    running.stop().await;
    tracing::info!("stopped");
    outcome
}

/// What several parts look at.
struct Shared {
    live: Arc<LiveBoard>,
    prompt: Arc<Prompt>,
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
    flush: Flush,
    pool: PgPool,
    botnets: Arc<Botnets>,
    geo: Arc<Geo>,
    watch_list: Arc<WatchList>,
    audit_interval: Duration,
}

/// The parts that need the database; returns when the server is to stop.
async fn run(
    parts: &mut Parts,
    store: Arc<Store>,
    shared: &Shared,
    endpoint: quinn::Endpoint,
) -> Result<(), ServeError> {
    if let Ok(address) = endpoint.local_addr() {
        tracing::info!(%address, "QUIC listens");
    }
    let ingest = Ingest {
        store: Arc::clone(&store),
        live: Arc::clone(&shared.live),
        prompt: Arc::clone(&shared.prompt),
        metrics: Arc::clone(&shared.metrics),
        watch_list: Arc::clone(&shared.watch_list),
        limits: Limits {
            drain: COMMITS,
            linger: LINGER,
            flush: shared.flush,
            ..Limits::default()
        },
    };
    parts.start(
        "ingest",
        ingest::serve(endpoint, ingest, parts.shutdown.clone()),
    );
    if !shared.audit_interval.is_zero() {
        let (metrics, shutdown) = (Arc::clone(&shared.metrics), parts.shutdown.clone());
        let (pool, store) = (shared.pool.clone(), Arc::clone(&store));
        let audits = audit::job::run(pool, store, shared.audit_interval, metrics, shutdown);
        parts.start("audit", audits);
    }
    let (metrics, shutdown) = (Arc::clone(&shared.metrics), parts.shutdown.clone());
    let relocation = relocation::Relocation {
        geo: Arc::clone(&shared.geo),
        botnets: Arc::clone(&shared.botnets),
        store: Arc::clone(&store),
        metrics: Arc::clone(&metrics),
    };
    parts.start("relocation", relocation.run(shutdown.clone()));
    let (botnets, of_store) = (Arc::clone(&shared.botnets), Arc::clone(&store));
    parts.start("botnets", async move {
        botnets.maintain(&of_store, &metrics, shutdown).await
    });
    let (pool, metrics) = (shared.pool.clone(), shared.metrics.feeds.clone());
    let watching = feeds::watch::run(pool, metrics, parts.shutdown.clone());
    parts.start("feeds", watching);
    let jobs = Jobs {
        pool: shared.pool.clone(),
        store: Arc::clone(&store),
        metrics: Arc::clone(&shared.metrics),
        settings: shared.botnets.settings().clone(),
    };
    parts.start("botnet statistics", jobs.run(parts.shutdown.clone()));
    let (metrics, shutdown) = (Arc::clone(&shared.metrics), parts.shutdown.clone());
    parts.start("maintenance", async move {
        store.maintain(&metrics, shutdown).await
    });
    parts.first_end().await
}

/// What runs until the shutdown: a part that ends before is a fault.
struct Parts {
    tasks: JoinSet<&'static str>,
    shutdown: CancellationToken,
}

impl Parts {
    fn new(shutdown: CancellationToken) -> Self {
        Self {
            tasks: JoinSet::new(),
            shutdown,
        }
    }

    fn start(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            part.await;
            name
        });
    }

    /// Waits for the shutdown, or for the part that ends without one.
    async fn first_end(&mut self) -> Result<(), ServeError> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Ok(()),
            ended = self.tasks.join_next() => {
                let (part, reason) = match ended {
                    Some(Ok(name)) => (name, "it returned".to_owned()),
                    Some(Err(error)) => ("a part of the server", error.to_string()),
                    None => ("the server", "it has no parts".to_owned()),
                };
                Err(ServeError::Ended { part, reason })
            }
        }
    }

    /// Tells every part to end and waits; what takes too long is cut off.
    async fn stop(mut self) {
        self.shutdown.cancel();
        let drained = timeout(DRAIN, async {
            while self.tasks.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            tracing::warn!("not everything finished in time; agents will send again");
            self.tasks.shutdown().await;
        }
    }
}

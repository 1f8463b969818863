//! A server that only ingests.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use netmon_common::{watch::Held, wire::ALPN};
use netmon_server::{
    agent_id::AgentId,
    ingest::{self, Ingest, Limits, Prompt},
    live::LiveBoard,
    metrics::Metrics,
    store::Store,
};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{Agent, dial},
    authority::Authority,
    database::{RETENTION, cluster, database},
};

pub struct Server {
    pub authority: Authority,
    pub address: SocketAddr,
    pub pool: PgPool,
    pub live: Arc<LiveBoard>,
    pub prompt: Arc<Prompt>,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Server {
    /// On the cluster that all tests share.
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::on(database(cluster().await).await, limits).await
    }

    pub async fn on(pool: PgPool, limits: Limits) -> Self {
        let authority = Authority::new();
        let endpoint = ingest::listen(
            "127.0.0.1:0".parse().unwrap(),
            authority.server_tls(),
            ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"any"),
        )
        .unwrap();
        let address = endpoint.local_addr().unwrap();
        let (live, metrics) = (Arc::new(LiveBoard::new()), Arc::new(Metrics::new()));
        let prompt = Arc::new(Prompt::default());
        let ingest = Ingest {
            store: Arc::new(Store::new(pool.clone(), RETENTION)),
            live: Arc::clone(&live),
            prompt: Arc::clone(&prompt),
            metrics: Arc::clone(&metrics),
            watch_list: Arc::default(),
            limits,
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(ingest::serve(endpoint, ingest, shutdown.clone()));
        Self {
            authority,
            address,
            pool,
            live,
            prompt,
            metrics,
            shutdown,
            task,
        }
    }

    /// A new agent that introduced itself.
    pub async fn agent(&self) -> Agent {
        self.agent_with(AgentId::random()).await
    }

    pub async fn agent_with(&self, id: AgentId) -> Agent {
        let config = self
            .authority
            .client(Some(self.authority.agent(id)), &[ALPN]);
        Agent::connect(self.address, config, id).await
    }

    /// A new agent that takes a watch list, and holds this one.
    pub async fn agent_that_watches(&self, held: &Held) -> Agent {
        let id = AgentId::random();
        let config = self
            .authority
            .client(Some(self.authority.agent(id)), &[ALPN]);
        let connection = dial(self.address, config).await.unwrap();
        Agent::greet_watching(connection, id, held).await.unwrap()
    }

    /// The value of a metric with its labels as they stand in the text format.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render(&self.live, 1000);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in\n{text}"))
            .parse()
            .unwrap()
    }

    /// Waits until a metric has a value.
    pub async fn metric_becomes(&self, name: &str, value: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.metric(name) != value {
            let seen = self.metric(name);
            assert!(Instant::now() < deadline, "{name} is {seen}, not {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

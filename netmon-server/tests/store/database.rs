//! A database for one test, and what stands in it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use netmon_common::wire::Hello;
use netmon_server::{agent_id::AgentId, store::Store};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

use crate::cluster::Cluster;

pub const RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// The cluster that all tests of this binary share.
pub async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(Cluster::start).await
}

/// A database of its own with all tables.
pub async fn database(cluster: &Cluster) -> PgPool {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let options = PgPoolOptions::new().acquire_timeout(Duration::from_secs(5));
    let admin = options
        .clone()
        .connect_with(cluster.connect_options("postgres"))
        .await
        .unwrap();
    // One at a time: a template that is being copied cannot be copied again.
    let mut admin_connection = admin.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(1)")
        .execute(&mut *admin_connection)
        .await
        .unwrap();
    sqlx::query(&format!("CREATE DATABASE {name}"))
        .execute(&mut *admin_connection)
        .await
        .unwrap();
    drop(admin_connection);
    admin.close().await;
    let options = options.max_connections(12);
    let pool = options
        .connect_with(cluster.connect_options(&name))
        .await
        .unwrap();
    sqlx::migrate!("./migrations").run(&pool).await.unwrap();
    pool
}

/// A store that knows one agent.
pub async fn store() -> (Store, PgPool, AgentId) {
    let pool = database(cluster().await).await;
    let store = Store::new(pool.clone(), RETENTION);
    let agent = register(&store).await;
    (store, pool, agent)
}

pub async fn register(store: &Store) -> AgentId {
    let agent = AgentId::random();
    let hello = Hello {
        hostname: "host".to_owned(),
        epoch: 1,
        ..Hello::default()
    };
    store.register_agent(agent, &hello).await.unwrap();
    agent
}

/// One number that a query answers with.
pub async fn number(pool: &PgPool, query: &str) -> i64 {
    sqlx::query_scalar(&format!("SELECT ({query})::bigint"))
        .fetch_one(pool)
        .await
        .unwrap()
}

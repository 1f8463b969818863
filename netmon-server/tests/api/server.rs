//! A server's API over a database of its own, and what it answers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use netmon_server::{
    api::{ApiState, router},
    config,
    geo::Geo,
    ingest::Prompt,
    live::LiveBoard,
    metrics::Metrics,
    store::botnets::Botnets,
};
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::sync::{Mutex, OnceCell};
use tower::ServiceExt;

use crate::cluster::Cluster;

const TEMPLATE: &str = "netmon_template";

/// The API of one server, with nothing stored at first.
pub struct Server {
    /// For rows that a test inserts.
    pub database: PgPool,
    pub live: Arc<LiveBoard>,
    pub ready: Arc<AtomicBool>,
    pub metrics: Arc<Metrics>,
    router: Router,
    name: String,
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// The cluster all tests share; each gets a database of its own.
pub async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(|| async {
            let cluster = Cluster::start().await;
            migrated(&cluster, TEMPLATE).await;
            cluster
        })
        .await
}

/// Creates a database with all tables.
pub async fn migrated(cluster: &Cluster, name: &str) {
    create(cluster, name, "template1").await;
    let mut database = PgConnection::connect_with(&cluster.connect_options(name))
        .await
        .unwrap();
    sqlx::migrate!("./migrations")
        .run(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
}

async fn create(cluster: &Cluster, name: &str, template: &str) {
    let mut admin = PgConnection::connect_with(&cluster.connect_options("postgres"))
        .await
        .unwrap();
    let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
    sqlx::query(&create).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
}

impl Server {
    pub async fn start() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        static CREATING: Mutex<()> = Mutex::const_new(());
        let cluster = cluster().await;
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let creating = CREATING.lock().await;
        create(cluster, &name, TEMPLATE).await;
        drop(creating);
        Self::over(cluster, &name)
    }

    pub fn over(cluster: &Cluster, name: &str) -> Self {
        let database = PgPoolOptions::new()
            .max_connections(2)
            .connect_lazy_with(cluster.connect_options(name));
        let live = Arc::new(LiveBoard::new());
        let ready = Arc::new(AtomicBool::new(true));
        let metrics = Arc::new(Metrics::new());
        let botnets = Botnets::new(database.clone(), &config::Botnets::default());
        let router = router(ApiState {
            pool: database.clone(),
            live: Arc::clone(&live),
            botnets: Arc::new(botnets.with_metrics(&metrics)),
            geo: Arc::new(Geo::embedded()),
            watch_list: Arc::default(),
            prompt: Arc::new(Prompt::default()),
            metrics: Arc::clone(&metrics),
            ready: Arc::clone(&ready),
            max_interface_series: 10,
            max_system_series: 10,
        });
        Self {
            database,
            live,
            ready,
            metrics,
            router,
            name: name.to_owned(),
        }
    }

    /// The name of its database.
    pub fn database_name(&self) -> &str {
        &self.name
    }

    /// Runs SQL, several statements if need be.
    pub async fn sql(&self, sql: &str) {
        sqlx::raw_sql(sql).execute(&self.database).await.unwrap();
    }

    /// Makes the daily partitions of both series.
    pub async fn days(&self, days: &[&str]) {
        for day in days {
            let name = day.replace('-', "");
            for table in ["bandwidth_stats", "ntp_exchanges", "ntp_folds"] {
                self.sql(&format!(
                    "CREATE TABLE {table}_{name} PARTITION OF {table} FOR VALUES \
                     FROM ('{day} 00:00Z') TO (timestamptz '{day} 00:00Z' + interval '24 hours')"
                ))
                .await;
            }
        }
    }

    /// Adds an agent; its id has the same digits in decimal and hexadecimal for small numbers.
    pub async fn agent(&self, id: i64, alias: &str) {
        self.sql(&format!(
            "INSERT INTO agents (agent_id, alias, hostname, agent_version, kernel_release, epoch, \
             first_seen, last_seen) VALUES ({id}, '{alias}', '{alias}.example', '0.1.0', '6.1.0', \
             1795000000000, '2026-11-20 08:00:00Z', '2026-11-20 09:30:00.25Z')"
        ))
        .await;
    }

    /// Adds an interface.
    pub async fn interface(&self, agent: i64, name: &str) {
        self.sql(&format!(
            "INSERT INTO interfaces (agent_id, name, ifindex, mac, mtu, link_speed_bps, monitored, \
             first_seen, last_seen) VALUES ({agent}, '{name}', 2, '\\x02000000000a', 1500, \
             1000000000, true, '2026-11-20 08:00:00Z', '2026-11-20 09:30:00Z')"
        ))
        .await;
    }

    pub async fn request(&self, method: Method, uri: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Body::empty())
            .unwrap();
        self.answer(request).await
    }

    pub async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    /// Posts JSON.
    pub async fn post(&self, uri: &str, body: &Value) -> Answer {
        let request = Request::post(uri)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.answer(request).await
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.request(Method::GET, uri).await
    }

    /// The JSON of a request that succeeds.
    pub async fn json(&self, uri: &str) -> Value {
        let answer = self.get(uri).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/json");
        answer.json()
    }

    /// The pages of a list from `uri` on, each with what `between` does before the next.
    pub async fn pages(&self, uri: &str, mut between: impl AsyncFnMut(usize)) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let uri = match &cursor {
                Some(cursor) => format!("{uri}&cursor={cursor}"),
                None => uri.to_owned(),
            };
            let mut page = self.json(&uri).await;
            pages.push(page["items"].as_array().unwrap().clone());
            match page["next_cursor"].take() {
                Value::Null => return pages,
                next => cursor = Some(next.as_str().unwrap().to_owned()),
            }
            between(pages.len()).await;
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

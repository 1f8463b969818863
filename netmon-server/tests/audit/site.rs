//! A database with what agents delivered, and what the audit says of it.

use std::{collections::BTreeSet, time::Duration};

use netmon_common::wire::Batch;
use netmon_server::{
    agent_id::AgentId,
    audit::{Finding, Report, Scope, audit},
    store::{Committed, Store},
};
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::{
    database::{register, store},
    host::Host,
};

pub const HOUR: Duration = Duration::from_secs(3600);

pub struct Site {
    pub store: Store,
    pub pool: PgPool,
    agent: Option<AgentId>,
}

impl Site {
    pub async fn new() -> Self {
        let (store, pool, agent) = store().await;
        Self {
            store,
            pool,
            agent: Some(agent),
        }
    }

    /// An agent whose clock says a whole hour three to four hours ago.
    pub async fn host(&mut self) -> Host {
        let agent = match self.agent.take() {
            Some(agent) => agent,
            None => register(&self.store).await,
        };
        let hour = OffsetDateTime::now_utc().unix_timestamp() / 3600 - 3;
        Host::new(agent, hour * 3600 * 1_000_000_000)
    }

    pub async fn commit(&self, host: &Host, batch: &Batch) {
        let rows = self.store.validate(host.id, batch).unwrap();
        let committed = self.store.commit(&rows).await.unwrap();
        assert!(matches!(committed, Committed::Stored(_)), "{committed:?}");
    }

    /// An agent that delivered three batches of bandwidth, two of exchanges, one of them with folds, and
    /// one of readings, and says so; all is rolled up.
    pub async fn delivered(&mut self) -> Host {
        let mut host = self.host().await;
        for _ in 0..2 {
            let batch = host.bandwidth();
            self.commit(&host, &batch).await;
        }
        for batch in [host.exchanges(), host.folds(), host.system()] {
            self.commit(&host, &batch).await;
        }
        let last = host.bandwidth();
        let last = host.settled(last, 3);
        self.commit(&host, &last).await;
        self.maintain().await;
        host
    }

    /// A round that comes when late rows have waited for more of their hour.
    pub async fn maintain(&self) {
        let now = OffsetDateTime::now_utc() + time::Duration::minutes(2);
        self.store.maintain_once(now).await.unwrap();
    }

    /// Deletes the ledger rows of everything that has a verdict.
    pub async fn trim(&self) {
        let later = OffsetDateTime::now_utc() + time::Duration::days(2);
        let trimmed = self.store.trim_ledger_once(later).await.unwrap();
        assert!(trimmed.floors > 0 && trimmed.rows > 0, "{trimmed:?}");
    }

    /// Changes the database behind the server's back.
    pub async fn plant(&self, statement: &str) {
        let done = sqlx::raw_sql(statement).execute(&self.pool).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    pub async fn audit(&self, period: Duration) -> Report {
        let scope = Scope {
            agent: None,
            period,
            limit: HOUR,
        };
        audit(&self.pool, scope, |_, _| {}).await.unwrap()
    }

    /// What the audit of a day finds, as `check/cause`; violations with a mark.
    pub async fn found(&self) -> BTreeSet<String> {
        let report = self.audit(24 * HOUR).await;
        let named = names(&report);
        let violations = named.iter().any(|name| name.starts_with('!'));
        assert_eq!(report.clean, !violations, "{report:#?}");
        named
    }
}

pub fn findings(report: &Report) -> impl Iterator<Item = &Finding> {
    let of_agents = report.agents.iter().flat_map(|agent| &agent.findings);
    report.database.iter().chain(of_agents)
}

pub fn names(report: &Report) -> BTreeSet<String> {
    let unchecked: Vec<_> = report
        .agents
        .iter()
        .filter_map(|a| a.error.as_ref())
        .collect();
    assert!(unchecked.is_empty(), "{unchecked:?}");
    let name = |finding: &Finding| {
        let mark = if finding.violation { "!" } else { "" };
        format!("{mark}{}/{}", finding.check.name(), finding.cause)
    };
    findings(report).map(name).collect()
}

pub fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

//! Many simulated agents at once.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use netmon_common::wire::{Kind, StreamState};
use netmon_server::agent_id::AgentId;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{Agent, Pace},
    identity::Identity,
    policy::Policy,
    source::{Bodies, Shape, Source, now_ns},
    tally::Tally,
};

/// What the agents of a fleet do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub shape: Shape,
    pub paces: Vec<(Kind, Pace)>,
    pub policy: Policy,
    /// How often a live frame is sent; none: never.
    pub live: Option<Duration>,
}

/// A running fleet. Dropped, its agents vanish without a word.
pub struct Fleet {
    pub tally: Arc<Tally>,
    pub epoch: u64,
    pub size: usize,
    agents: JoinSet<Handed>,
    begin: CancellationToken,
    finish: CancellationToken,
}

/// What one agent has handed over, by its own books.
pub struct Handed {
    pub agent: AgentId,
    pub epoch: u64,
    pub shape: Shape,
    pub streams: Vec<StreamState>,
    pub bodies: Arc<Bodies>,
}

impl Fleet {
    /// Starts an agent for every identity, in a new epoch.
    pub fn launch(identities: &[Identity], server: SocketAddr, plan: &Plan) -> Self {
        let now = now_ns();
        let mut fleet = Self {
            tally: Arc::default(),
            epoch: (now / 1_000_000) as u64 * 1024,
            size: identities.len(),
            agents: JoinSet::new(),
            begin: CancellationToken::new(),
            finish: CancellationToken::new(),
        };
        let bodies = Bodies::new(plan.shape);
        for (index, identity) in identities.iter().enumerate() {
            let source = Source {
                agent: index,
                epoch: fleet.epoch,
                shape: plan.shape,
                bodies: Arc::clone(&bodies),
                // Agents are not in step.
                began_unix_ns: now - plan.shape.age.as_nanos() as i64 + index as i64 * 1_000_000,
            };
            let agent = Agent::new(
                index,
                identity.clone(),
                server,
                plan.policy,
                source,
                plan.live,
                Arc::clone(&fleet.tally),
                [fleet.begin.clone(), fleet.finish.clone()],
            );
            let paces = plan.paces.clone();
            fleet.agents.spawn(async move {
                agent.run(&paces).await;
                let streams = agent.outbox().states(agent.source.epoch);
                Handed {
                    agent: agent.identity.agent,
                    epoch: agent.source.epoch,
                    shape: agent.source.shape,
                    streams,
                    bodies: agent.source.bodies,
                }
            });
        }
        fleet
    }

    /// Waits until every agent is connected.
    pub async fn all_connected(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let connected = self.tally.connected.load(Relaxed);
            if connected == self.size as u64 {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{connected} of {} agents are connected after {patience:?}: {:?}",
                self.size,
                self.tally.comings().failures
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets backlogs begin.
    pub fn begin(&self) {
        self.begin.cancel();
    }

    /// Waits until so many batches are acknowledged.
    pub async fn all_stored(&self, batches: u64, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.tally.stored()[0] < batches {
            let stored = self.tally.stored()[0];
            ensure!(
                Instant::now() < deadline,
                "{stored} of {batches} batches are stored after {patience:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends the sealing and waits until everything sealed has its verdict.
    pub async fn finish(mut self, patience: Duration) -> Result<Vec<Handed>> {
        self.finish.cancel();
        let mut handed = Vec::with_capacity(self.size);
        let all = async {
            while let Some(agent) = self.agents.join_next().await {
                handed.push(agent.context("a simulated agent panicked")?);
            }
            Ok(())
        };
        match timeout(patience, all).await {
            Ok(ended) => ended.map(|()| handed),
            Err(_) => anyhow::bail!(
                "{} of {} agents still wait for verdicts after {patience:?}; refused: {}",
                self.agents.len(),
                self.size,
                self.tally.refused.load(Relaxed)
            ),
        }
    }
}

//! Locating nodes again after the geo files changed: a job of the server, and its steps for the command.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Current, Geo};
use crate::{
    metrics::{DatabaseOperation, Metrics},
    store::{
        Store,
        botnets::{BotnetError, Botnets, FamilyId, NumberedAtlas, Relocated, RelocatedBatch},
    },
};

/// How often the server looks whether its files changed. SIGHUP makes it look at once.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often all nodes are looked through for such as were located by another edition, without a
/// change of the files: a server that was not told of it yet may have written some.
const SURVEY_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon what failed, or what another server is at, is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Which server does it. Two that do it at once do no harm.
const JOB: &str = "relocation";
const LEASE: Duration = Duration::from_secs(300);

/// A batch that fails for a reason that passes is tried so often, so far apart.
const ATTEMPTS: u32 = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);

/// The shortest pause between batches; otherwise it is as long as the batch took, so that writers
/// have at least half of the time to themselves.
const PAUSE: Duration = Duration::from_millis(5);

/// The job's parts.
#[derive(Debug)]
pub struct Relocation {
    /// The atlas, read again when its files change.
    pub geo: Arc<Geo>,
    /// Whose nodes.
    pub botnets: Arc<Botnets>,
    /// Knows which server leads.
    pub store: Arc<Store>,
    /// Where failures are counted.
    pub metrics: Arc<Metrics>,
}

/// How a round ended.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// All nodes are by this edition.
    Done(Relocated),
    /// Another server is at it.
    Elsewhere,
}

impl Relocation {
    /// Relocates at the start, after a change of the files, and once a day, until the shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => {
                tracing::error!(%error, "cannot watch for SIGHUP");
                return shutdown.cancelled().await;
            }
        };
        let mut surveyed: Option<Instant> = None;
        loop {
            let mut pause = LOOK_EVERY;
            if surveyed.is_none_or(|at| at.elapsed() >= SURVEY_EVERY) {
                let round = tokio::select! {
                    () = shutdown.cancelled() => break,
                    round = self.round() => round,
                };
                match self.tell(round) {
                    true => surveyed = Some(Instant::now()),
                    false => pause = TRY_AGAIN,
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = look(&mut hangups, pause) => {}
            }
            if self.reload().await {
                surveyed = None;
            }
        }
        // Otherwise another server waits for the end of the lease.
        let _ = timeout(Duration::from_secs(1), self.store.resign(JOB)).await;
    }

    /// Whether another edition is in use from now on.
    async fn reload(&self) -> bool {
        let geo = Arc::clone(&self.geo);
        // Reads and checks whole files.
        match spawn_blocking(move || geo.reload()).await {
            Ok(Ok(changed)) => {
                if changed {
                    let edition = &self.geo.current().edition().description.clone();
                    tracing::info!(edition, "other geo files are in use from now on");
                }
                changed
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the geo files in use stay as they are");
                false
            }
            Err(_) => false,
        }
    }

    async fn round(&self) -> Result<Round, BotnetError> {
        let current = self.geo.current();
        let by = NumberedAtlas {
            atlas: current.atlas(),
            edition: self.botnets.edition(current.edition()).await?,
        };
        if !self.leads().await? {
            return Ok(Round::Elsewhere);
        }
        let outdated = self.botnets.outdated(by.edition).await?;
        let nodes = outdated.iter().map(|(_, nodes)| nodes).sum();
        current.metrics().outdated(nodes);
        let mut all = Relocated::default();
        for (family, nodes) in outdated {
            tracing::info!(%family, nodes, "locating nodes again");
            match self.relocate_family(family, by, &current).await {
                Ok(Some(relocated)) => all.add(relocated),
                Ok(None) => return Ok(Round::Elsewhere),
                // Removed meanwhile; its nodes go.
                Err(BotnetError::FamilyGone) => {}
                Err(error) => return Err(error),
            }
        }
        current.metrics().outdated(0);
        Ok(Round::Done(all))
    }

    /// `None`: another server took over.
    async fn relocate_family(
        &self,
        family: FamilyId,
        by: NumberedAtlas<'_>,
        current: &Current,
    ) -> Result<Option<Relocated>, BotnetError> {
        let mut all = Relocated::default();
        let (mut after, mut led) = (None, Instant::now());
        loop {
            let begun = Instant::now();
            let step = step(&self.botnets, family, by, after).await?;
            let Relocated { same, moved } = step.relocated;
            current.metrics().relocated(same, moved);
            all.add(step.relocated);
            after = match step.next_after {
                Some(address) => Some(address),
                None => return Ok(Some(all)),
            };
            sleep(begun.elapsed().max(PAUSE)).await;
            if led.elapsed() >= LEASE / 5 {
                if !self.leads().await? {
                    return Ok(None);
                }
                led = Instant::now();
            }
        }
    }

    async fn leads(&self) -> Result<bool, BotnetError> {
        let now = self.store.database_time().await?;
        Ok(self.store.lead(JOB, now, LEASE).await?)
    }

    /// Whether there is nothing to try again soon.
    fn tell(&self, round: Result<Round, BotnetError>) -> bool {
        match round {
            Ok(Round::Done(Relocated { same, moved })) => {
                if same + moved > 0 {
                    tracing::info!(same, moved, "located all nodes of other geo files again");
                }
                true
            }
            Ok(Round::Elsewhere) => false,
            Err(error) => {
                self.metrics.database_error(DatabaseOperation::Maintain);
                tracing::warn!(%error, "cannot locate nodes again; trying again in a minute");
                false
            }
        }
    }
}

/// Until it is time, or somebody asks for it.
async fn look(hangups: &mut Signal, pause: Duration) {
    tokio::select! {
        () = sleep(pause) => {}
        _ = hangups.recv() => tracing::info!("SIGHUP: looking at the geo files"),
    }
}

/// The next batch of a family, tried again while the database cannot take it.
///
/// # Errors
/// As [`Botnets::relocate`].
pub async fn step(
    botnets: &Botnets,
    family: FamilyId,
    by: NumberedAtlas<'_>,
    after: Option<IpAddr>,
) -> Result<RelocatedBatch, BotnetError> {
    let mut attempt = 1;
    loop {
        match botnets.relocate(family, by, after).await {
            Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                tracing::debug!(%error, attempt, "a batch is tried again");
                attempt += 1;
                sleep(BETWEEN_ATTEMPTS).await;
            }
            outcome => return outcome,
        }
    }
}

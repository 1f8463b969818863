//! What goes on behind the writers: folding, retention, and the rest of what was removed.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{BotnetError, Botnets, Family, Folded, NodeSelection};
use crate::metrics::{DatabaseOperation, Metrics};
use crate::store::{Store, expire::time_duration};

/// How often differences are folded into the statistics.
const FOLD_EVERY: Duration = Duration::from_secs(1);

/// How often one of the servers looks after what is old.
const AGE_EVERY: Duration = Duration::from_secs(60);

/// How often all nodes are looked through for those that are to go.
const NODES_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Which server looks after what is old; longer than most rounds. Two that do it at once do no harm.
const JOB: &str = "botnets";
const LEASE: Duration = Duration::from_secs(600);

/// What a round of ageing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaintainedBotnets {
    /// Families whose last rows are gone.
    pub families: u64,
    /// Uploads that are forgotten.
    pub uploads: u64,
    /// Nodes that were not seen for long.
    pub nodes: u64,
}

impl Botnets {
    /// Folds and ages until shut down. Each server folds; one of them ages.
    pub async fn maintain(&self, store: &Store, metrics: &Metrics, shutdown: CancellationToken) {
        tokio::join!(
            self.fold_always(metrics, shutdown.clone()),
            self.age_always(store, metrics, shutdown.clone()),
        );
    }

    async fn fold_always(&self, metrics: &Metrics, shutdown: CancellationToken) {
        loop {
            let folded = tokio::select! {
                () = shutdown.cancelled() => return,
                folded = self.fold_once() => folded,
            };
            let pause = match folded {
                Ok(Folded { .. }) => FOLD_EVERY,
                Err(error) => {
                    metrics.database_error(DatabaseOperation::Maintain);
                    tracing::warn!(%error, "cannot fold statistics of botnets; trying again");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn age_always(&self, store: &Store, metrics: &Metrics, shutdown: CancellationToken) {
        let mut looked_through: Option<Instant> = None;
        loop {
            let nodes = looked_through.is_none_or(|at| at.elapsed() >= NODES_EVERY);
            let round = tokio::select! {
                () = shutdown.cancelled() => break,
                round = self.age_if_leading(store, nodes) => round,
            };
            match round {
                Ok(None) => {}
                Ok(Some(done)) => {
                    if nodes {
                        looked_through = Some(Instant::now());
                    }
                    if done != MaintainedBotnets::default() {
                        let MaintainedBotnets {
                            families,
                            uploads,
                            nodes,
                        } = done;
                        tracing::info!(families, uploads, nodes, "removed what is old of botnets");
                    }
                }
                Err(error) => {
                    metrics.database_error(DatabaseOperation::Maintain);
                    tracing::warn!(%error, "cannot age botnets; trying again in a minute");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(AGE_EVERY) => {}
            }
        }
        // Otherwise another server waits for the end of the lease.
        let _ = tokio::time::timeout(Duration::from_secs(1), store.resign(JOB)).await;
    }

    async fn age_if_leading(
        &self,
        store: &Store,
        nodes: bool,
    ) -> Result<Option<MaintainedBotnets>, BotnetError> {
        let now = store.database_time().await?;
        if !store.lead(JOB, now, LEASE).await? {
            return Ok(None);
        }
        Ok(Some(self.age_once(now, nodes).await?))
    }

    /// One round: removes what is left of removed families, forgets old uploads and, with `nodes`,
    /// drops nodes that were not seen for `botnets.nodes`. Partitions are dropped by
    /// [`Store::maintain`].
    ///
    /// # Errors
    /// The database's; what was done until then stays done.
    pub async fn age_once(
        &self,
        now: OffsetDateTime,
        nodes: bool,
    ) -> Result<MaintainedBotnets, BotnetError> {
        let mut done = MaintainedBotnets {
            families: self.remove_rest().await?,
            ..MaintainedBotnets::default()
        };
        let families = self.families().await?;
        // A lines's time may be that of its upload, so the key is known as long as what it stored.
        let kept = self.settings.raw.max(self.settings.communications);
        if let Some(horizon) = now.checked_sub(time_duration(kept) + time::Duration::DAY) {
            done.uploads = self.forget_uploads(&families, horizon).await?;
        }
        if nodes && !self.settings.nodes.is_zero() {
            done.nodes = self.expire_nodes(&families, now).await?;
        }
        Ok(done)
    }

    async fn forget_uploads(
        &self,
        families: &[Family],
        horizon: OffsetDateTime,
    ) -> Result<u64, BotnetError> {
        let mut uploads = 0;
        for family in families {
            let gone =
                sqlx::query("DELETE FROM botnet_uploads WHERE family_id = $1 AND received_at < $2");
            let gone = gone
                .bind(family.id)
                .bind(horizon)
                .execute(&self.pool)
                .await?;
            uploads += gone.rows_affected();
        }
        Ok(uploads)
    }

    async fn expire_nodes(
        &self,
        families: &[Family],
        now: OffsetDateTime,
    ) -> Result<u64, BotnetError> {
        let Some(horizon) = now.checked_sub(time_duration(self.settings.nodes)) else {
            return Ok(0);
        };
        let mut nodes = 0;
        for family in families {
            let selection = NodeSelection::NotSeenSince(horizon);
            let deleted = self.delete_selected(family.id, &selection).await?;
            self.metrics.expired(deleted.nodes);
            nodes += deleted.nodes;
        }
        Ok(nodes)
    }
}

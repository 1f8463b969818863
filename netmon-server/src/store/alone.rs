//! One step of a commit without the others: what it costs by itself.

use super::{Rows, Store, StoreError, attempt, clients, lease::Lease};

impl Store {
    /// Upserts the NTP clients of all batches in one transaction, and nothing else: for measuring,
    /// since without a ledger row nothing is stored only once. Gives how many.
    ///
    /// # Errors
    /// As [`Store::commit_group`].
    pub async fn upsert_clients_alone(&self, rows: &Rows) -> Result<usize, StoreError> {
        attempt(async {
            let (mut lease, _) = Lease::begin_at(&self.pool).await?;
            let seen = (0..rows.batches()).flat_map(|batch| {
                let agent = rows.key(batch).agent;
                let of = rows.sightings_of(batch).iter();
                of.map(move |sighting| (agent, sighting))
            });
            let clients = clients::fold(&rows.names, seen.collect());
            clients::upsert(lease.connection(), &clients).await?;
            lease.commit().await?;
            Ok(clients.len())
        })
        .await
    }
}

//! What a transaction changes in the statistics.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use time::Date;

use super::FamilyId;
use crate::store::{StoreError, error::counted};

const DELTA: &str = "\
    INSERT INTO botnet_deltas AS d (family_id, place_ids, nodes, communications, days)
    VALUES ($1, $2, $3, $4, $5)
    RETURNING (SELECT coalesce(sum(n), 0)::bigint FROM unnest(d.nodes) AS n),
              (SELECT coalesce(sum(c), 0)::bigint FROM unnest(d.communications) AS c)";

/// Differences of a family's statistics by place. Whoever changes nodes writes them in the same
/// transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    by_place: BTreeMap<i32, Difference>,
    days: BTreeSet<Date>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Difference {
    nodes: i64,
    communications: i64,
}

impl Delta {
    /// Nodes and sightings are added to a place, or taken from it.
    pub(crate) fn add(&mut self, place: i32, nodes: i64, communications: i64) {
        let sum = self.by_place.entry(place).or_default();
        sum.nodes += nodes;
        sum.communications += communications;
    }

    /// Communications of these days changed: their history is made again.
    pub(crate) fn touch(&mut self, days: impl IntoIterator<Item = Date>) {
        self.days.extend(days);
    }

    /// Nodes and sightings over all places.
    pub(crate) fn sums(&self) -> (i64, i64) {
        let add = |(nodes, count), of: &Difference| (nodes + of.nodes, count + of.communications);
        self.by_place.values().fold((0, 0), add)
    }

    /// Writes it, if it says anything.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] if the database stored other numbers.
    pub(crate) async fn write(
        &self,
        connection: &mut PgConnection,
        family: FamilyId,
    ) -> Result<(), StoreError> {
        if self.by_place.is_empty() && self.days.is_empty() {
            return Ok(());
        }
        let differences = self.by_place.values();
        let stored: Option<(i64, i64)> = sqlx::query_as(DELTA)
            .bind(family)
            .bind(Vec::from_iter(self.by_place.keys().copied()))
            .bind(Vec::from_iter(differences.clone().map(|of| of.nodes)))
            .bind(Vec::from_iter(differences.map(|of| of.communications)))
            .bind(Vec::from_iter(self.days.iter().copied()))
            .fetch_optional(connection)
            .await
            .map_err(StoreError::of_rows)?;
        counted("botnet_deltas", 1, u64::from(stored.is_some()))?;
        let (nodes, communications) = stored.unwrap_or_default();
        let sums = self.sums();
        counted("botnet_deltas", sums.0.unsigned_abs(), nodes.unsigned_abs())?;
        counted(
            "botnet_deltas",
            sums.1.unsigned_abs(),
            communications.unsigned_abs(),
        )
    }
}

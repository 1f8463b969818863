//! Partitions for communications that are not written by [`super::Prepared`].

use std::collections::BTreeSet;

use time::Date;

use super::{BotnetError, Botnets};
use crate::store::{Series, partitions::Day};

impl Botnets {
    /// Makes the partitions of communications of these days, where they are missing.
    ///
    /// # Errors
    /// The database's.
    pub async fn ensure_communications(&self, days: &BTreeSet<Date>) -> Result<(), BotnetError> {
        // Somebody may have dropped one since it was seen last.
        self.partitions.forget();
        let days = days.iter().map(|day| Day::of(day.midnight().assume_utc()));
        let days = days.map(|day| (Series::Communications, day)).collect();
        self.partitions.ensure(&self.pool, &days).await?;
        Ok(())
    }
}

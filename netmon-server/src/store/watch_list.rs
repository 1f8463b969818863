//! What agents are to watch: nodes of watched families, and what families list.

use futures_util::TryStreamExt as _;
use ipnetwork::IpNetwork;
use netmon_common::watch::{List, MAX_SERVED, Prefix};
use sqlx::Row as _;
use time::OffsetDateTime;

use super::{
    Store, StoreError,
    botnets::{BotnetError, Botnets, FamilyId},
    lease::Lease,
};

/// Most entries of the lists of all families together.
pub const MAX_LISTED: usize = 500_000;

/// Entries written by one statement.
const PART: usize = 20_000;

/// What the list was made of: while this is the same, so is the list, as a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sign {
    /// Watched families, and how many nodes each has.
    nodes: Vec<(FamilyId, i64)>,
    /// Families with a list, and which one.
    lists: Vec<(FamilyId, i64)>,
}

/// What agents are to watch, and how much is beyond what they can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watchable {
    /// At most [`MAX_SERVED`] entries.
    pub list: List,
    /// Nodes that are not in it: those not seen for longest.
    pub left_out: u64,
}

/// A family's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Listed {
    /// How often it has been replaced.
    pub revision: i64,
    /// How long it is.
    pub entries: i64,
    /// When it was replaced last.
    pub changed_at: OffsetDateTime,
}

/// A family's list was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// All families together would have too many.
    #[error(
        "the lists of all families have at most {MAX_LISTED} entries together; the others have {0}"
    )]
    TooMany(i64),
    /// The family, or the database.
    #[error(transparent)]
    Botnets(#[from] BotnetError),
}

impl From<sqlx::Error> for ListError {
    fn from(error: sqlx::Error) -> Self {
        Self::Botnets(error.into())
    }
}

impl Store {
    /// What the list would be made of now.
    ///
    /// # Errors
    /// The database's.
    pub async fn watch_sign(&self) -> Result<Sign, StoreError> {
        let watched: Vec<FamilyId> = sqlx::query_scalar(
            "SELECT family_id FROM botnet_families WHERE watched ORDER BY family_id",
        )
        .fetch_all(&self.pool)
        .await?;
        let lists = sqlx::query_as(
            "SELECT family_id, revision FROM botnet_watch_lists WHERE entries > 0
             ORDER BY family_id",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut sign = Sign {
            nodes: Vec::new(),
            lists,
        };
        if !watched.is_empty() {
            sign.nodes = sqlx::query_as(
                "SELECT family_id, sum(nodes)::int8 FROM (
                     SELECT family_id, nodes FROM botnet_statistics WHERE family_id = ANY ($1)
                     UNION ALL
                     SELECT d.family_id, u.nodes FROM botnet_deltas d
                     CROSS JOIN LATERAL unnest(d.nodes) AS u (nodes)
                     WHERE d.family_id = ANY ($1)) AS all_places
                 GROUP BY family_id ORDER BY family_id",
            )
            .bind(&watched)
            .fetch_all(&self.pool)
            .await?;
        }
        Ok(sign)
    }

    /// What agents are to watch now, made of what `sign` says.
    ///
    /// # Errors
    /// The database's.
    pub async fn watchable(&self, sign: &Sign) -> Result<Watchable, StoreError> {
        let mut entries = Vec::new();
        let mut listed = sqlx::query("SELECT e.family_id, e.prefix FROM botnet_watch_entries e")
            .fetch(&self.pool);
        while let Some(row) = listed.try_next().await? {
            entries.extend(prefix(row.try_get(1)?));
        }
        drop(listed);
        let families: Vec<FamilyId> = sign.nodes.iter().map(|(family, _)| *family).collect();
        let nodes: i64 = sign.nodes.iter().map(|(_, nodes)| *nodes).sum();
        let room = MAX_SERVED.saturating_sub(entries.len()) as i64;
        // Sorting them all takes a while, and is of no use while there is room.
        let query = match nodes <= room {
            true => "SELECT ip FROM botnet_nodes WHERE family_id = ANY ($1) LIMIT $2",
            false => {
                "SELECT ip FROM botnet_nodes WHERE family_id = ANY ($1)
                 ORDER BY last_seen DESC LIMIT $2"
            }
        };
        if !families.is_empty() {
            let mut nodes = sqlx::query(query)
                .bind(&families)
                .bind(room)
                .fetch(&self.pool);
            while let Some(row) = nodes.try_next().await? {
                entries.extend(prefix(row.try_get(0)?));
            }
        }
        Ok(Watchable {
            list: entries.into_iter().collect(),
            left_out: (nodes - room).max(0).unsigned_abs(),
        })
    }
}

impl Botnets {
    /// Replaces the list of a family; an empty one ends it.
    ///
    /// # Errors
    /// [`ListError::TooMany`], [`BotnetError::FamilyGone`], or the database's.
    pub async fn set_watch_list(&self, family: FamilyId, list: &List) -> Result<Listed, ListError> {
        let mut lease = Lease::begin(self.pool()).await?;
        let connection = lease.connection();
        let there: Option<i32> =
            sqlx::query_scalar("SELECT 1 FROM botnet_families WHERE family_id = $1 FOR KEY SHARE")
                .bind(family)
                .fetch_optional(&mut *connection)
                .await?;
        there.ok_or(BotnetError::FamilyGone)?;
        // After the family, as who removes it; one at a time, so that there are not more entries than there may be.
        sqlx::query("LOCK TABLE botnet_watch_lists IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut *connection)
            .await?;
        let others: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(entries), 0)::int8 FROM botnet_watch_lists WHERE family_id <> $1",
        )
        .bind(family)
        .fetch_one(&mut *connection)
        .await?;
        if others + list.len() as i64 > MAX_LISTED as i64 {
            return Err(ListError::TooMany(others));
        }
        sqlx::query("DELETE FROM botnet_watch_entries WHERE family_id = $1")
            .bind(family)
            .execute(&mut *connection)
            .await?;
        let entries: Vec<IpNetwork> = list.iter().filter_map(network).collect();
        for part in entries.chunks(PART) {
            sqlx::query(
                "INSERT INTO botnet_watch_entries (family_id, prefix)
                 SELECT $1, e.prefix FROM unnest($2::inet[]) AS e (prefix)",
            )
            .bind(family)
            .bind(part)
            .execute(&mut *connection)
            .await?;
        }
        let listed = sqlx::query_as(
            "INSERT INTO botnet_watch_lists AS l (family_id, revision, entries, changed_at)
             VALUES ($1, 1, $2, $3)
             ON CONFLICT (family_id) DO UPDATE SET revision = l.revision + 1,
                 entries = EXCLUDED.entries, changed_at = EXCLUDED.changed_at
             RETURNING revision, entries, changed_at",
        )
        .bind(family)
        .bind(list.len() as i64)
        .bind(OffsetDateTime::now_utc())
        .fetch_one(&mut *connection)
        .await?;
        lease.commit().await?;
        Ok(listed)
    }
}

/// As agents take it.
fn prefix(network: IpNetwork) -> Option<Prefix> {
    Prefix::new(network.ip(), network.prefix()).ok()
}

fn network(prefix: Prefix) -> Option<IpNetwork> {
    IpNetwork::new(prefix.address(), prefix.length()).ok()
}

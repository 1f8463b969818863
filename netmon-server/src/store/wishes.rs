//! What is wished of NTP monitoring, by agent and interface.
//!
//! Wishes of one agent change one after the other: each change begins with the agent's row of
//! `ntp_wish_revisions`, whose number says which change it was.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use netmon_common::{
    ntp::NtpPorts,
    wire::{MAX_NTP_WISHES, NtpMonitoring, NtpWish},
};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::{Store, StoreError, attempt, lease::Lease};
use crate::agent_id::AgentId;

/// A change may become visible so much later than the time that it bears: transactions are bounded to
/// less.
const VISIBLE_WITHIN: Duration = Duration::from_secs(120);

/// Separates the name of an interface from that of its network namespace, which has a kernel table of
/// ports of its own.
const NAMESPACE_MARK: char = '@';

/// What is to be done about NTP on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Whether it is to be looked at.
    pub(crate) monitored: bool,
    /// Where servers are looked for; none: as the agent's configuration says.
    pub(crate) ports: NtpPorts,
    /// How long a request waits; `None`: as the agent's configuration says.
    pub(crate) timeout_ms: Option<u32>,
}

/// Why something is not wished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WishError {
    /// The agent has as many wishes as it can be told.
    #[error("the agent has as many wishes as it can be told")]
    TooMany,
    /// The kernel compares with each port.
    #[error("NTP would be looked for on {0} ports")]
    TooManyPorts(usize),
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Changes of wishes, as far as they were seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The time of the newest, by the database's clock.
    newest: OffsetDateTime,
    /// When it was seen first.
    since: Instant,
}

impl Seen {
    fn now(newest: OffsetDateTime) -> Self {
        Self {
            newest,
            since: Instant::now(),
        }
    }

    /// From when on changes are to be looked at: older ones than the newest may still become visible
    /// for a while.
    fn after(self) -> OffsetDateTime {
        if self.since.elapsed() > VISIBLE_WITHIN {
            self.newest
        } else {
            self.newest - VISIBLE_WITHIN
        }
    }
}

impl Store {
    /// All that is wished of an agent.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn wishes(&self, agent: AgentId) -> Result<NtpMonitoring, StoreError> {
        type Row = (
            i64,
            Option<String>,
            Option<bool>,
            Option<Vec<i32>>,
            Option<i32>,
        );
        attempt(async {
            // One statement, and so one moment.
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT r.revision, w.interface, w.monitored, w.ports, w.timeout_ms
                 FROM ntp_wish_revisions r LEFT JOIN ntp_wishes w USING (agent_id)
                 WHERE r.agent_id = $1 ORDER BY w.interface",
            )
            .bind(agent.to_bigint())
            .fetch_all(&self.pool)
            .await?;
            let revision = rows.first().map_or(0, |(revision, ..)| *revision);
            let wishes = rows.into_iter().filter_map(|row| {
                let (_, interface, monitored, ports, timeout_ms) = row;
                let ports = ports.unwrap_or_default().into_iter();
                Some(NtpWish {
                    name: interface?,
                    monitored: monitored?,
                    ports: ports.filter_map(|port| port.try_into().ok()).collect(),
                    timeout_ms: timeout_ms.map_or(0, i32::unsigned_abs),
                })
            });
            Ok(NtpMonitoring {
                revision: revision.unsigned_abs(),
                interfaces: wishes.collect(),
            })
        })
        .await
    }

    /// Agents of which something else is wished than what was `seen`, with the numbers of their
    /// newest changes, and what is seen now. Some are named more than once; what was there at the
    /// first call is not.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn wishes_since(
        &self,
        seen: Option<Seen>,
    ) -> Result<(Vec<(AgentId, u64)>, Seen), StoreError> {
        attempt(async {
            let Some(seen) = seen else {
                // The database's clock: it stamps the changes.
                let newest = sqlx::query_scalar("SELECT clock_timestamp()")
                    .fetch_one(&self.pool)
                    .await?;
                return Ok((Vec::new(), Seen::now(newest)));
            };
            let rows: Vec<(i64, i64, OffsetDateTime)> = sqlx::query_as(
                "SELECT agent_id, revision, changed_at FROM ntp_wish_revisions
                 WHERE changed_at > $1",
            )
            .bind(seen.after())
            .fetch_all(&self.pool)
            .await?;
            let newest = rows.iter().map(|(.., changed_at)| *changed_at).max();
            let newer = newest.filter(|newest| *newest > seen.newest);
            let seen = newer.map_or(seen, Seen::now);
            let rows = rows.into_iter();
            let changed = rows
                .map(|(agent, revision, _)| (AgentId::from_bigint(agent), revision.unsigned_abs()));
            Ok((changed.collect(), seen))
        })
        .await
    }
}

/// Wishes the same of several interfaces of an agent, or of none of them. `as_configured` are the ports
/// looked for on interfaces of which nothing is wished, as the agent says. Gives the number of the
/// change.
pub(crate) async fn wish(
    pool: &PgPool,
    agent: AgentId,
    interfaces: &[String],
    wish: &Wish,
    as_configured: &HashMap<String, Vec<u16>>,
) -> Result<i64, WishError> {
    let (mut lease, now) = Lease::begin_at(pool).await?;
    let revision = count_up(lease.connection(), agent, now).await?;
    write(lease.connection(), agent, interfaces, wish, (revision, now)).await?;
    match check(lease.connection(), agent, as_configured).await? {
        Ok(()) => {
            lease.commit().await?;
            Ok(revision)
        }
        Err(refused) => {
            lease.roll_back().await?;
            Err(refused)
        }
    }
}

/// Locks the agent's row: the next change waits.
async fn count_up(
    connection: &mut PgConnection,
    agent: AgentId,
    now: OffsetDateTime,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO ntp_wish_revisions AS r (agent_id, revision, changed_at) VALUES ($1, 1, $2)
         ON CONFLICT (agent_id) DO UPDATE SET
             revision = r.revision + 1,
             changed_at = greatest(r.changed_at, EXCLUDED.changed_at)
         RETURNING revision",
    )
    .bind(agent.to_bigint())
    .bind(now)
    .fetch_one(connection)
    .await
}

/// A row that says the same already keeps its time.
async fn write(
    connection: &mut PgConnection,
    agent: AgentId,
    interfaces: &[String],
    wish: &Wish,
    (revision, now): (i64, OffsetDateTime),
) -> sqlx::Result<()> {
    // In the order of their keys, each once.
    let names: BTreeSet<&str> = interfaces.iter().map(String::as_str).collect();
    let names = Vec::from_iter(names);
    let ports = wish.ports.as_slice().iter().map(|port| i32::from(*port));
    let ports = (!wish.ports.is_empty()).then(|| ports.collect::<Vec<_>>());
    sqlx::query(
        "INSERT INTO ntp_wishes AS w
             (agent_id, interface, monitored, ports, timeout_ms, revision, changed_at)
         SELECT $1, name, $3, $4, $5, $6, $7 FROM unnest($2::text[]) AS n (name)
         ON CONFLICT (agent_id, interface) DO UPDATE SET
             monitored = EXCLUDED.monitored, ports = EXCLUDED.ports,
             timeout_ms = EXCLUDED.timeout_ms, revision = EXCLUDED.revision,
             changed_at = EXCLUDED.changed_at
         WHERE w.monitored <> EXCLUDED.monitored OR w.ports IS DISTINCT FROM EXCLUDED.ports
            OR w.timeout_ms IS DISTINCT FROM EXCLUDED.timeout_ms",
    )
    .bind(agent.to_bigint())
    .bind(names)
    .bind(wish.monitored)
    .bind(ports)
    .bind(wish.timeout_ms.map(u32::cast_signed))
    .bind(revision)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether all that is wished now can be done. Rows that wish for nothing but the configuration go
/// first when there are too many.
async fn check(
    connection: &mut PgConnection,
    agent: AgentId,
    as_configured: &HashMap<String, Vec<u16>>,
) -> sqlx::Result<Result<(), WishError>> {
    let rows: Vec<(String, bool, Option<Vec<i32>>)> = sqlx::query_as(
        "SELECT interface, monitored, ports FROM ntp_wishes WHERE agent_id = $1 ORDER BY interface",
    )
    .bind(agent.to_bigint())
    .fetch_all(&mut *connection)
    .await?;
    if rows.len() > MAX_NTP_WISHES {
        let gone = sqlx::query(
            "DELETE FROM ntp_wishes
             WHERE agent_id = $1 AND monitored AND ports IS NULL AND timeout_ms IS NULL",
        )
        .bind(agent.to_bigint())
        .execute(connection)
        .await?;
        if rows.len() as u64 - gone.rows_affected() > MAX_NTP_WISHES as u64 {
            return Ok(Err(WishError::TooMany));
        }
    }
    let most = most_ports(&rows, as_configured);
    if most > NtpPorts::MAX {
        return Ok(Err(WishError::TooManyPorts(most)));
    }
    Ok(Ok(()))
}

/// The most ports that are to be looked for in one network namespace.
fn most_ports(
    wishes: &[(String, bool, Option<Vec<i32>>)],
    as_configured: &HashMap<String, Vec<u16>>,
) -> usize {
    let mut ports: HashMap<&str, HashSet<i32>> = HashMap::new();
    let wished: HashSet<&str> = wishes.iter().map(|(name, ..)| name.as_str()).collect();
    for (name, configured) in as_configured {
        if !wished.contains(name.as_str()) {
            let all = ports.entry(namespace(name)).or_default();
            all.extend(configured.iter().map(|port| i32::from(*port)));
        }
    }
    for (name, monitored, wanted) in wishes {
        if *monitored {
            let all = ports.entry(namespace(name)).or_default();
            all.extend(wanted.iter().flatten());
        }
    }
    ports.values().map(HashSet::len).max().unwrap_or(0)
}

fn namespace(interface: &str) -> &str {
    let parts = interface.rsplit_once(NAMESPACE_MARK);
    parts.map_or("", |(_, namespace)| namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(name: &str, monitored: bool, ports: &[i32]) -> (String, bool, Option<Vec<i32>>) {
        (name.to_owned(), monitored, Some(ports.to_vec()))
    }

    #[test]
    fn ports_are_counted_by_network_namespace_and_each_once() {
        let configured = HashMap::from([
            ("eth0".to_owned(), vec![123]),
            ("eth1".to_owned(), vec![123]),
        ]);
        let mut wishes = vec![
            wished("eth1", true, &[123, 1123]),
            wished("eth2", true, &[1123, 2123]),
            wished("eth3", false, &[5, 6, 7, 8]),
            wished("eth0@blue", true, &[1, 2]),
        ];
        assert_eq!(most_ports(&wishes, &configured), 3);
        // Then nothing is as configured any more.
        wishes.push(wished("eth0", true, &[9]));
        wishes.remove(0);
        assert_eq!(most_ports(&wishes, &configured), 4);
        assert_eq!(most_ports(&[], &HashMap::new()), 0);
    }
}

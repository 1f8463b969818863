//! Reads the sightings of a range from each agent, newest first, and puts together what belongs
//! together.
//!
//! Every statement reads rows of agents by the beginning of their key, and rows of two agents never meet
//! in the database: on a distributed one they lie on different nodes. An exchange belongs to the
//! moment of its newest sighting. So one round takes the keys of the newest rows of each agent down to
//! where all of them are known, then those rows with what lies within the tolerance around them.

use std::collections::HashMap;

use sqlx::{PgPool, Postgres, QueryBuilder};
use time::{Duration, OffsetDateTime};

use super::row::Row;
use crate::{
    api::{
        ntp::filter::{Filter, Wish},
        problem::Problem,
        range::{self, Range},
    },
    ntp::joined::{Group, RowKey, Sighting, group},
};

/// Most agents whose sightings are joined.
const MAX_AGENTS: i64 = 64;

/// Most rows that one round reads.
const MAX_ROUND_ROWS: usize = 50_000;

/// Most rows that one request reads.
const MAX_ROWS: usize = 200_000;

/// Keys of each agent that one round asks for at least.
const MIN_KEYS: usize = 100;

/// What takes part. Second packets and packets without a request of their own do not: they are rows
/// beside the exchange. Of peers and broadcasts there is nothing to join.
const MATCHES: [&str; 10] = [
    "basic",
    "interleaved",
    "weak",
    "unanswered",
    "late",
    "superseded",
    "refused",
    "sensor_stopped",
    "origin_mismatch",
    "unsolicited_response",
];

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Newest sightings lie in here.
    pub range: Range,
    /// Sightings of one exchange lie within this.
    pub tolerance: Duration,
    /// Only the exchange with this transmit timestamp of the request.
    pub cookie: Option<u64>,
}

/// A way through a range, newest first.
pub struct Sweep<'a> {
    database: &'a PgPool,
    agents: Vec<i64>,
    aliases: HashMap<i64, String>,
    filter: Filter,
    bounds: Bounds,
    /// Everything whose newest sighting has this key or a newer one was given out; `None`: nothing yet.
    after: Option<RowKey>,
    /// Nothing is left.
    finished: bool,
    rows: usize,
}

impl<'a> Sweep<'a> {
    /// Finds out which agents to ask.
    pub async fn new(database: &'a PgPool, wish: &Wish, bounds: Bounds) -> Result<Self, Problem> {
        let filter = wish.filter(database).await?;
        let aliases: HashMap<_, _> = agents(database, wish, &filter).await?.into_iter().collect();
        if aliases.len() as i64 > MAX_AGENTS {
            let reason = format!("more than {MAX_AGENTS} saw it; name those to join");
            return Err(Problem::parameter("agent", reason));
        }
        Ok(Self {
            database,
            agents: aliases.keys().copied().collect(),
            aliases,
            filter,
            bounds,
            after: None,
            finished: false,
            rows: 0,
        })
    }

    /// Goes on behind this place.
    pub fn continue_behind(&mut self, row: Option<RowKey>) {
        if row.is_some() {
            self.after = row;
            self.finished = false;
        }
    }

    /// Where the next page begins; `None`: there is none.
    pub fn position(&self) -> Option<RowKey> {
        self.after.filter(|_| !self.finished)
    }

    /// Names of the agents.
    pub fn aliases(&self) -> &HashMap<i64, String> {
        &self.aliases
    }

    /// The next groups, newest first, about so many; `None` when all were given out, or as much was read
    /// as a request may.
    pub async fn next(&mut self, limit: usize) -> Result<Option<Vec<Group>>, Problem> {
        if self.finished || self.rows >= MAX_ROWS || self.agents.is_empty() {
            self.finished |= self.agents.is_empty();
            return Ok(None);
        }
        let most = MAX_ROUND_ROWS / self.agents.len();
        let mut keys = (limit + 1).max(MIN_KEYS).min(most);
        let newest = self.keys(keys).await?;
        self.rows += newest.len();
        let Some(first) = newest.iter().max().copied() else {
            self.finished = true;
            return Ok(None);
        };
        let (reach, sightings) = loop {
            let reach = Reach::new(&newest, keys).unwrap_or(Reach {
                down_to: first,
                more: true,
            });
            let sightings = self.around(first, reach.down_to).await?;
            self.rows += sightings.len();
            if sightings.len() <= MAX_ROUND_ROWS {
                break (reach, sightings);
            }
            if keys == 1 {
                let reason = "too many exchanges are as close as this to each other; make it \
                              smaller, or name a client, a server or agents";
                return Err(Problem::parameter("tolerance", reason));
            }
            keys = keys.div_ceil(8);
        };
        let tolerance_us = self.bounds.tolerance.whole_microseconds().unsigned_abs();
        let tolerance_us = u64::try_from(tolerance_us).unwrap_or(u64::MAX);
        let mut groups = group(sightings, tolerance_us);
        groups.retain(|group| {
            let newest = group.newest();
            newest >= Some(reach.down_to) && newest.is_some_and(|newest| self.is_next(newest))
        });
        groups.sort_by_key(|group| std::cmp::Reverse(group.newest()));
        self.after = Some(reach.down_to);
        self.finished = !reach.more;
        Ok(Some(groups))
    }

    /// Whether an exchange with this newest sighting is in the range and was not given out.
    fn is_next(&self, newest: RowKey) -> bool {
        let (_, to_us) = self.bounds.range.unix_us();
        newest.0 < to_us && self.after.is_none_or(|after| newest < after)
    }

    /// The newest rows of each agent behind the place, by key.
    async fn keys(&self, count: usize) -> Result<Vec<RowKey>, Problem> {
        let mut query = QueryBuilder::new(
            "SELECT e.at, e.agent_id, e.epoch, e.sequence, e.ordinal FROM agents a \
             CROSS JOIN LATERAL (SELECT e.agent_id, e.at, e.epoch, e.sequence, e.ordinal \
             FROM ntp_exchanges e WHERE e.agent_id = a.agent_id AND e.at >= ",
        );
        query.push_bind(self.bounds.range.from).push(" AND e.at < ");
        query.push_bind(self.bounds.range.to);
        self.push_filter(&mut query);
        if let Some((at_us, agent, epoch, sequence, ordinal)) = self.after {
            let at = range::time_of_unix_us(at_us).ok_or(Problem::InvalidCursor)?;
            // The bound on the time alone is what the index can use.
            query.push(" AND e.at <= ").push_bind(at);
            query
                .push(" AND (e.at, e.agent_id, e.epoch, e.sequence, e.ordinal) < (")
                .push_bind(at);
            for number in [agent, epoch, sequence, ordinal.into()] {
                query.push(", ").push_bind(number);
            }
            query.push(")");
        }
        query
            .push(" ORDER BY e.at DESC, e.epoch DESC, e.sequence DESC, e.ordinal DESC LIMIT ")
            .push_bind(count as i64)
            .push(") e WHERE a.agent_id = ANY (")
            .push_bind(self.agents.clone())
            .push(")");
        let rows: Vec<(OffsetDateTime, i64, i64, i64, i32)> =
            query.build_query_as().fetch_all(self.database).await?;
        let key = |(at, agent, epoch, sequence, ordinal)| {
            (range::unix_us(at), agent, epoch, sequence, ordinal)
        };
        Ok(rows.into_iter().map(key).collect())
    }

    /// The rows from one key down to another, with those within the tolerance around them, also beyond
    /// the range; one more than a round may read if there are more.
    async fn around(&self, first: RowKey, down_to: RowKey) -> Result<Vec<Sighting>, Problem> {
        let time = |us: i64, by: Duration| {
            let at = range::time_of_unix_us(us).and_then(|at| at.checked_add(by));
            at.ok_or(Problem::InvalidCursor)
        };
        let tolerance = self.bounds.tolerance;
        let mut query = QueryBuilder::new("SELECT ");
        query
            .push(Row::COLUMNS)
            .push(" FROM ntp_exchanges e WHERE e.agent_id = ANY (")
            .push_bind(self.agents.clone())
            .push(") AND e.at >= ")
            .push_bind(time(down_to.0, -tolerance)?)
            .push(" AND e.at <= ")
            .push_bind(time(first.0, tolerance)?);
        self.push_filter(&mut query);
        query.push(" LIMIT ").push_bind(MAX_ROUND_ROWS as i64 + 1);
        let rows: Vec<Row> = query.build_query_as().fetch_all(self.database).await?;
        Ok(rows.into_iter().map(Sighting::from).collect())
    }

    fn push_filter(&self, query: &mut QueryBuilder<'_, Postgres>) {
        query.push(" AND e.match = ANY (");
        query
            .push_bind(MATCHES.map(str::to_owned).to_vec())
            .push(")");
        self.filter.push_but_agents(query, "e");
        if let Some(cookie) = self.bounds.cookie {
            // The agent that saw the response only knows it as that one's origin timestamp.
            query.push(" AND coalesce(e.request_transmit_timestamp, e.origin_timestamp) = ");
            query.push_bind(cookie.cast_signed());
        }
    }
}

/// How far down all agents' rows are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    down_to: RowKey,
    /// There may be rows further down.
    more: bool,
}

impl Reach {
    /// Of the newest rows of each agent, at most `each` of them; an agent that has so many may have more.
    fn new(newest: &[RowKey], each: usize) -> Option<Self> {
        let mut agents: HashMap<i64, Vec<RowKey>> = HashMap::new();
        for key in newest {
            agents.entry(key.1).or_default().push(*key);
        }
        for keys in agents.values_mut() {
            keys.sort_unstable_by_key(|key| std::cmp::Reverse(*key));
        }
        let cut = agents.values().filter_map(|keys| keys.get(each - 1));
        match cut.max() {
            Some(floor) => Some(Self {
                down_to: *floor,
                more: true,
            }),
            None => newest.iter().min().map(|oldest| Self {
                down_to: *oldest,
                more: false,
            }),
        }
    }
}

/// The agents that are named, or else those that ever saw such a client and server, with their aliases.
async fn agents(
    database: &PgPool,
    wish: &Wish,
    filter: &Filter,
) -> Result<Vec<(i64, String)>, Problem> {
    let mut query = QueryBuilder::new("SELECT a.agent_id, a.alias FROM agents a WHERE ");
    match filter.agents() {
        Some(agents) => {
            query.push("a.agent_id = ANY (");
            query.push_bind(agents.to_vec()).push(")");
        }
        None if wish.client.is_empty() && wish.server.is_empty() => {
            query.push("true");
        }
        None => {
            query.push("EXISTS (SELECT FROM ntp_clients c WHERE c.agent_id = a.agent_id");
            filter.push_but_agents(&mut query, "c");
            query.push(")");
        }
    }
    query.push(" LIMIT ").push_bind(MAX_AGENTS + 1);
    Ok(query.build_query_as().fetch_all(database).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_known_down_to_where_the_first_agent_was_cut() {
        let key = |agent: i64, at: i64| (at, agent, 1, 1, 0);
        let dense = (1..=5).map(|at| key(1, 100 - at));
        let sparse = (1..=3).map(|at| key(2, 100 - 10 * at));
        let newest: Vec<_> = dense.chain(sparse).collect();
        let reach = |down_to, more| Some(Reach { down_to, more });
        for (each, expected) in [
            (6, reach(key(2, 70), false)),
            (5, reach(key(1, 95), true)),
            (3, reach(key(1, 97), true)),
            (1, reach(key(1, 99), true)),
        ] {
            assert_eq!(Reach::new(&newest, each), expected, "{each}");
        }
        assert_eq!(Reach::new(&[], 3), None);
    }
}

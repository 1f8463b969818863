//! Proves that what was acknowledged is stored, and that statistics are what a count gives.

use anyhow::{Result, ensure};
use sqlx::{PgPool, Row as _};

/// What is stored of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub nodes: i64,
    /// Sightings.
    pub communications: i64,
    /// Rows of them: by hour and source.
    pub rows: i64,
}

/// Reads and compares everything in one statement.
///
/// # Errors
/// When a place's statistics are not what a count gives, or communications are not what nodes say.
pub async fn balance(pool: &PgPool, family: &str) -> Result<Amounts> {
    let row = sqlx::query(
        "WITH family AS (SELECT family_id FROM botnet_families WHERE name = $1),
         counted AS (
             SELECT place_id, count(*) AS nodes, sum(communications)::int8 AS communications
             FROM botnet_nodes WHERE family_id = (SELECT family_id FROM family) GROUP BY place_id
         ), live AS (
             SELECT place_id, sum(nodes)::int8 AS nodes, sum(communications)::int8 AS communications
             FROM (
                 SELECT place_id, nodes, communications FROM botnet_statistics
                 WHERE family_id = (SELECT family_id FROM family)
                 UNION ALL
                 SELECT d.* FROM botnet_deltas, unnest(place_ids, nodes, communications) d
                 WHERE family_id = (SELECT family_id FROM family)
             ) changes GROUP BY place_id
         ), difference AS (
             SELECT count(*) AS places FROM counted FULL JOIN live USING (place_id)
             WHERE (coalesce(counted.nodes, 0), coalesce(counted.communications, 0))
                <> (coalesce(live.nodes, 0), coalesce(live.communications, 0))
         )
         SELECT (SELECT coalesce(sum(nodes), 0)::int8 FROM counted),
                (SELECT coalesce(sum(communications), 0)::int8 FROM counted),
                (SELECT places FROM difference), count(*), coalesce(sum(count), 0)::int8
         FROM botnet_communications WHERE family_id = (SELECT family_id FROM family)",
    )
    .bind(family)
    .fetch_one(pool)
    .await?;
    let [nodes, communications, wrong, rows, sightings] =
        std::array::from_fn(|i| row.get::<i64, _>(i));
    ensure!(
        wrong == 0,
        "the statistics of {wrong} places are not what a count of {family} gives"
    );
    ensure!(
        communications == sightings,
        "the nodes of {family} were seen {communications} times, and {sightings} communications are stored"
    );
    Ok(Amounts {
        nodes,
        communications,
        rows,
    })
}

//! What statistics say, and what the nodes say, within one snapshot.

use sqlx::{
    Executor as _, FromRow, PgConnection, Postgres,
    postgres::{PgArguments, PgRow},
    query::QueryAs,
};

use super::counts::{ByPlace, Counts};
use crate::{botnets::windows::Windows, store::botnets::FamilyId};

/// What a pass over the nodes gives.
#[derive(Clone, Debug, Default)]
pub(in crate::botnets) struct Counted {
    /// Nodes and communications by place.
    pub(in crate::botnets) places: ByPlace,
    /// Active nodes by place.
    pub(in crate::botnets) active: Vec<Active>,
}

/// Nodes of a place that were seen in each window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::botnets) struct Active {
    pub(in crate::botnets) place: i32,
    pub(in crate::botnets) day: i64,
    pub(in crate::botnets) week: i64,
    pub(in crate::botnets) month: i64,
}

/// The rows as they are stored, and what is so at this moment: the rows with all deltas.
#[derive(Clone, Debug, Default)]
pub(in crate::botnets) struct Live {
    pub(in crate::botnets) stored: ByPlace,
    pub(in crate::botnets) now: ByPlace,
    /// Deltas that are not folded in yet.
    pub(in crate::botnets) deltas: i64,
}

/// A node as `counted.sql` has it: place, nodes, communications, day, week, month, undecided.
type Pass = (i32, i64, i64, i64, i64, i64, i64);

/// More undecided nodes than this are looked up all together: each by itself costs some probes of an
/// index, together all communications of the windows are read.
const MANY: i64 = 200_000;

/// A plan that reads each table once, whatever the statistics of the planner say of columns that
/// change all the time.
const AT_ONCE: &str = "SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off; \
                       SET LOCAL work_mem = '128MB'";
const AS_BEFORE: &str = "SET LOCAL enable_nestloop = on; SET LOCAL enable_mergejoin = on";

/// Counts the nodes of a family in one pass, active ones with them.
///
/// Most nodes are decided by their first and last sighting alone. One that was seen before a window
/// and again after its end may or may not have been seen within: its communications say.
pub(in crate::botnets) async fn counted(
    connection: &mut PgConnection,
    family: FamilyId,
    windows: Windows,
) -> sqlx::Result<Counted> {
    let nodes: Vec<Pass> = over(include_str!("counted.sql"), family, windows)
        .fetch_all(&mut *connection)
        .await?;
    let undecided = match nodes.iter().map(|pass| pass.6).sum() {
        0 => Vec::new(),
        ..=MANY => {
            let each = over(include_str!("undecided.sql"), family, windows);
            each.fetch_all(connection).await?
        }
        _ => {
            connection.execute(AT_ONCE).await?;
            let all = over(include_str!("undecided_many.sql"), family, windows);
            let all = all.fetch_all(&mut *connection).await?;
            connection.execute(AS_BEFORE).await?;
            all
        }
    };
    let mut counted = Counted::default();
    for (place, nodes, communications, day, week, month, _) in nodes {
        let counts = Counts {
            nodes,
            communications,
        };
        counted.places.insert(place, counts);
        counted.active.push(Active {
            place,
            day,
            week,
            month,
        });
    }
    // Both are of one snapshot: whoever is undecided was counted.
    counted.active.sort_unstable_by_key(|active| active.place);
    for (place, day, week, month) in undecided as Vec<(i32, i64, i64, i64)> {
        let found = counted
            .active
            .binary_search_by_key(&place, |active| active.place);
        if let Ok(index) = found {
            let active = &mut counted.active[index];
            active.day += day;
            active.week += week;
            active.month += month;
        }
    }
    counted.active.retain(|active| active.month > 0);
    Ok(counted)
}

/// Counts the nodes of a family by place, and nothing else.
pub(in crate::botnets) async fn counted_by_place(
    connection: &mut PgConnection,
    family: FamilyId,
) -> sqlx::Result<ByPlace> {
    let rows: Vec<(i32, i64, i64)> = sqlx::query_as(
        "SELECT place_id, count(*), sum(communications)::int8
         FROM botnet_nodes WHERE family_id = $1 GROUP BY place_id",
    )
    .bind(family)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(by_place).collect())
}

fn by_place((place, nodes, communications): (i32, i64, i64)) -> (i32, Counts) {
    let counts = Counts {
        nodes,
        communications,
    };
    (place, counts)
}

/// A query over a family and windows.
fn over<'q, Row>(
    statement: &'static str,
    family: FamilyId,
    windows: Windows,
) -> QueryAs<'q, Postgres, Row, PgArguments>
where
    Row: for<'r> FromRow<'r, PgRow>,
{
    sqlx::query_as(statement)
        .bind(family)
        .bind(windows.as_of)
        .bind(windows.day())
        .bind(windows.week())
        .bind(windows.month())
}

/// What the statistics of a family say.
pub(in crate::botnets) async fn live(
    connection: &mut PgConnection,
    family: FamilyId,
) -> sqlx::Result<Live> {
    let stored: Vec<(i32, i64, i64)> = sqlx::query_as(
        "SELECT place_id, nodes, communications FROM botnet_statistics WHERE family_id = $1",
    )
    .bind(family)
    .fetch_all(&mut *connection)
    .await?;
    let changes: Vec<(i32, i64, i64)> = sqlx::query_as(
        "SELECT of.place_id, sum(of.nodes)::int8, sum(of.communications)::int8
         FROM botnet_deltas d,
              unnest(d.place_ids, d.nodes, d.communications)
                  AS of (place_id, nodes, communications)
         WHERE d.family_id = $1
         GROUP BY of.place_id",
    )
    .bind(family)
    .fetch_all(&mut *connection)
    .await?;
    let deltas = sqlx::query_scalar("SELECT count(*) FROM botnet_deltas WHERE family_id = $1")
        .bind(family)
        .fetch_one(connection)
        .await?;
    let mut live = Live {
        deltas,
        ..Live::default()
    };
    live.stored.extend(stored.into_iter().map(by_place));
    live.now = live.stored.clone();
    for (place, nodes, communications) in changes {
        let counts = live.now.entry(place).or_default();
        counts.nodes += nodes;
        counts.communications += communications;
    }
    Ok(live)
}

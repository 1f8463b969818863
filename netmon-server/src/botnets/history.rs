//! History by day: the nodes seen on a day, those seen for the first time, and their communications,
//! by place.
//!
//! Made from the communications of a closed day whenever some of them changed (`botnet_days_due`), the
//! whole day at once, so that a line that comes late is in it like any other. A day whose
//! communications are past retention stays as it is.

use sqlx::{PgConnection, PgPool};
use time::{Date, Duration, OffsetDateTime};

use super::{snapshot::Snapshot, transient::attempts};

/// A day is closed so long after midnight (UTC).
const MARGIN: Duration = Duration::minutes(2);

/// Most days made in one go.
const MAX_DAYS: i64 = 1000;

/// What was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Days of single families that were made, or made again.
    pub days: u64,
    /// Those that stay as they are, since their communications are past retention.
    pub frozen: u64,
    /// Those that could not be made, three times; they are tried again in the next round.
    pub failed: u64,
    /// Those that wait.
    pub waiting: u64,
}

/// Makes the days that are due and closed at `now`.
///
/// # Errors
/// When the database does not say what is due. A day that cannot be made leaves the others.
pub async fn make(pool: &PgPool, now: OffsetDateTime) -> sqlx::Result<Made> {
    let today = (now - MARGIN).to_offset(time::UtcOffset::UTC).date();
    let due: Vec<(i64, Date)> = sqlx::query_as(
        "SELECT family_id, day FROM botnet_days_due WHERE day < $1 ORDER BY day, family_id LIMIT $2",
    )
    .bind(today)
    .bind(MAX_DAYS)
    .fetch_all(pool)
    .await?;
    let mut made = Made::default();
    for (family, day) in due {
        match attempts(|| make_day(pool, family, day)).await {
            Ok(Day::Made) => made.days += 1,
            Ok(Day::Frozen) => made.frozen += 1,
            Ok(Day::NotDue) => {}
            Err(error) => {
                made.failed += 1;
                tracing::warn!(family, %day, %error, "history of a day not made");
            }
        }
    }
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM botnet_days_due WHERE day < $1")
        .bind(today)
        .fetch_one(pool)
        .await?;
    made.waiting = waiting.unsigned_abs();
    Ok(made)
}

enum Day {
    Made,
    Frozen,
    /// Somebody else made it, or the family is gone.
    NotDue,
}

/// Makes one day of a family.
///
/// The mark is deleted before the communications are read: whoever changes them later waits with a new
/// mark until this is committed, or their change is read here.
async fn make_day(pool: &PgPool, family: i64, day: Date) -> sqlx::Result<Day> {
    let mut transaction = Snapshot::begin_current(pool).await?;
    let since = transaction.hold_communications().await?;
    let connection = transaction.connection();
    let there: Option<i64> = sqlx::query_scalar(
        "SELECT family_id FROM botnet_families WHERE family_id = $1 FOR KEY SHARE",
    )
    .bind(family)
    .fetch_optional(&mut *connection)
    .await?;
    let due = sqlx::query("DELETE FROM botnet_days_due WHERE family_id = $1 AND day = $2")
        .bind(family)
        .bind(day)
        .execute(&mut *connection)
        .await?;
    let (from, to) = bounds(day);
    let outcome = match (there, due.rows_affected()) {
        (None, _) | (_, 0) => Day::NotDue,
        _ if from < since => Day::Frozen,
        _ => {
            replace(connection, family, day, from, to).await?;
            Day::Made
        }
    };
    transaction.commit().await?;
    Ok(outcome)
}

fn bounds(day: Date) -> (OffsetDateTime, OffsetDateTime) {
    let from = day.midnight().assume_utc();
    (from, from + Duration::DAY)
}

async fn replace(
    connection: &mut PgConnection,
    family: i64,
    day: Date,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> sqlx::Result<()> {
    // Of a family that is new since the tables were last analysed, PostgreSQL expects one row: it
    // would gather the day's communications again for every node.
    sqlx::query("SET LOCAL enable_nestloop = off")
        .execute(&mut *connection)
        .await?;
    let rows: Vec<(i32, i64, i64, i64)> = sqlx::query_as(
        "SELECT n.place_id, count(*), count(*) FILTER (WHERE n.first_seen >= $2),
                sum(c.count)::int8
         FROM (
             SELECT ip, sum(count) AS count
             FROM botnet_communications
             WHERE family_id = $1 AND bucket >= $2 AND bucket < $3
             GROUP BY ip
         ) c
         JOIN botnet_nodes n ON n.family_id = $1 AND n.ip = c.ip
         GROUP BY n.place_id",
    )
    .bind(family)
    .bind(from)
    .bind(to)
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM botnet_days WHERE family_id = $1 AND day = $2")
        .bind(family)
        .bind(day)
        .execute(&mut *connection)
        .await?;
    let column = |of: fn(&(i32, i64, i64, i64)) -> i64| rows.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO botnet_days (family_id, day, place_id, nodes, new_nodes, communications)
         SELECT $1, $2, of.place_id, of.nodes, of.new_nodes, of.communications
         FROM unnest($3::int4[], $4::int8[], $5::int8[], $6::int8[])
             AS of (place_id, nodes, new_nodes, communications)",
    )
    .bind(family)
    .bind(day)
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(column(|row| row.1))
    .bind(column(|row| row.2))
    .bind(column(|row| row.3))
    .execute(connection)
    .await
    .map(drop)
}

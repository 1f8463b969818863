//! One agent, at one moment.

mod batches;
mod frames;
mod rows;
mod sums;
mod window;

use netmon_common::wire::Kind;
use sqlx::{Connection as _, PgConnection, PgPool};
use time::OffsetDateTime;

use self::{batches::Books, window::Window};
use super::report::Tally;

/// Checks everything of an agent; gives how many batches are still with it.
///
/// A clock that is stepped back stamps rows with times before the window, and what is in the window
/// seems to miss them. So violations within a window are looked for again in everything there is,
/// at the same moment, and only what is found then counts.
pub(super) async fn check(
    pool: &PgPool,
    agent: i64,
    since: OffsetDateTime,
    tally: &mut Tally,
) -> sqlx::Result<u64> {
    let mut connection = pool.acquire().await?;
    let mut snapshot = connection.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *snapshot)
        .await?;
    sqlx::query(
        "SELECT set_config('statement_timeout', '10min', true), set_config('jit', 'off', true)",
    )
    .execute(&mut *snapshot)
    .await?;
    let books = batches::sequences(&mut snapshot, agent, tally).await?;
    let whole = window::retained(&mut snapshot).await?;
    let asked = whole.from(since);
    let mut found = within(&mut snapshot, agent, asked, &books).await?;
    if found.violations() > 0 && asked != whole {
        found = within(&mut snapshot, agent, whole, &books).await?;
    }
    tally.take_in(found);
    snapshot.rollback().await?;
    Ok(books.outstanding())
}

/// The checks of data, which depend on the window.
async fn within(
    connection: &mut PgConnection,
    agent: i64,
    window: Window,
    books: &Books,
) -> sqlx::Result<Tally> {
    let mut tally = Tally::default();
    rows::rows(connection, agent, window, &mut tally).await?;
    frames::counters(connection, agent, window, books, &mut tally).await?;
    sums::rollups(connection, agent, window, &mut tally).await?;
    Ok(tally)
}

fn kind_name(kind: i16) -> &'static str {
    Kind::try_from(i32::from(kind)).map_or("unknown", |kind| kind.name())
}

//! History by day, against what nodes and communications say.

use netmon_server::botnets::{
    Subject,
    aggregate::{Trigger, rebuild},
    history::{Made, make},
};
use time::{Date, Duration, OffsetDateTime};

use crate::site::{Site, seen, today};

/// Day, place, nodes, new nodes, communications.
type Row = (Date, i32, i64, i64, i64);

/// When all days before `today()` are closed.
fn now() -> OffsetDateTime {
    today().midnight().assume_utc() + Duration::hours(1)
}

fn at(days_ago: i64) -> OffsetDateTime {
    (today() - Duration::days(days_ago)).midnight().assume_utc() + Duration::hours(13)
}

async fn stored(site: &Site, family: &Subject) -> Vec<Row> {
    sqlx::query_as(
        "SELECT day, place_id, nodes, new_nodes, communications FROM botnet_days
         WHERE family_id = $1 ORDER BY day, place_id",
    )
    .bind(family.id)
    .fetch_all(&site.pool)
    .await
    .unwrap()
}

async fn brute_force(site: &Site, family: &Subject) -> Vec<Row> {
    sqlx::query_as(
        "SELECT (c.bucket AT TIME ZONE 'UTC')::date AS day, n.place_id, count(DISTINCT c.ip),
                count(DISTINCT c.ip) FILTER (
                    WHERE (n.first_seen AT TIME ZONE 'UTC')::date
                        = (c.bucket AT TIME ZONE 'UTC')::date),
                sum(c.count)::int8
         FROM botnet_communications c JOIN botnet_nodes n USING (family_id, ip)
         WHERE c.family_id = $1 AND c.bucket < $2
         GROUP BY day, n.place_id ORDER BY day, n.place_id",
    )
    .bind(family.id)
    .bind(today().midnight().assume_utc())
    .fetch_all(&site.pool)
    .await
    .unwrap()
}

async fn fold_and_make(site: &Site) -> Made {
    site.botnets.fold_once().await.unwrap();
    make(&site.pool, now()).await.unwrap()
}

#[tokio::test]
async fn history_equals_what_the_communications_of_the_day_say() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    for days_ago in [0, 1, 2, 5] {
        let numbers = (0..300).filter(|n| n % (days_ago as u32 + 1) == 0);
        let lines = numbers.flat_map(|n| {
            let at = at(days_ago) - Duration::hours(i64::from(n % 13));
            [seen(n, at), seen(n, at + Duration::SECOND)]
        });
        site.store(&family, lines.collect()).await;
    }
    let made = fold_and_make(&site).await;
    assert_eq!(
        (made.days, made.frozen, made.waiting),
        (3, 0, 0),
        "today is not closed"
    );
    let expected = brute_force(&site, &family).await;
    assert_eq!(expected.len(), 3 * 5);
    assert_eq!(stored(&site, &family).await, expected);
    let due = "SELECT count(*) FROM botnet_days_due";
    assert_eq!(site.number(due).await, 1, "today");
    assert_eq!(
        fold_and_make(&site).await,
        Made::default(),
        "nothing is made twice"
    );
}

#[tokio::test]
async fn a_late_line_makes_its_day_again_and_that_on_which_its_node_was_new() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    site.store(&family, (0..100).map(|n| seen(n, at(2))).collect())
        .await;
    fold_and_make(&site).await;
    let before = stored(&site, &family).await;
    let new: i64 = before.iter().map(|row| row.3).sum();
    assert_eq!(new, 100);
    // Some of them were seen before, and somebody else was, too.
    let late = (0..10).chain(500..507).map(|n| seen(n, at(6)));
    site.store(&family, late.collect()).await;
    fold_and_make(&site).await;
    let after = stored(&site, &family).await;
    assert_eq!(after, brute_force(&site, &family).await);
    let new: i64 = after.iter().map(|row| row.3).sum();
    assert_eq!(new, 107, "each node is new once");
}

#[tokio::test]
async fn days_of_deltas_that_a_rebuild_takes_are_made_like_those_of_folded_ones() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    site.store(&family, (0..20).map(|n| seen(n, at(3))).collect())
        .await;
    rebuild(&site.pool, &family, Trigger::Job)
        .await
        .unwrap()
        .unwrap();
    let made = make(&site.pool, now()).await.unwrap();
    assert_eq!(made.days, 1);
    assert_eq!(
        stored(&site, &family).await,
        brute_force(&site, &family).await
    );
}

#[tokio::test]
async fn a_day_past_retention_stays_as_it_is() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    site.store(&family, (0..20).map(|n| seen(n, at(3))).collect())
        .await;
    fold_and_make(&site).await;
    let before = stored(&site, &family).await;
    let since = today() - Duration::days(2);
    site.plant(&format!(
        "DELETE FROM botnet_communications;
         UPDATE retained SET since = '{since} 00:00:00+00' WHERE table_name = 'botnet_communications';
         INSERT INTO botnet_days_due SELECT family_id, '{}' FROM botnet_families WHERE name = 'mozi'",
        today() - Duration::days(3),
    ))
    .await;
    let made = make(&site.pool, now()).await.unwrap();
    assert_eq!((made.days, made.frozen, made.waiting), (0, 1, 0));
    assert_eq!(stored(&site, &family).await, before);
}

#[tokio::test]
async fn a_day_that_cannot_be_made_leaves_the_others() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    for days_ago in [2, 3] {
        let lines = (0..20).map(|n| seen(n, at(days_ago)));
        site.store(&family, lines.collect()).await;
    }
    let day = today() - Duration::days(3);
    site.plant(&format!(
        "ALTER TABLE botnet_days ADD CONSTRAINT planted CHECK (day <> '{day}')"
    ))
    .await;
    let made = fold_and_make(&site).await;
    assert_eq!((made.days, made.failed, made.waiting), (1, 1, 1));
    site.plant("ALTER TABLE botnet_days DROP CONSTRAINT planted")
        .await;
    let made = fold_and_make(&site).await;
    assert_eq!((made.days, made.failed, made.waiting), (1, 0, 0));
    assert_eq!(
        stored(&site, &family).await,
        brute_force(&site, &family).await
    );
}

#[tokio::test]
async fn a_change_that_comes_while_a_day_is_made_makes_it_again() {
    let site = Site::new().await;
    let family = site.family("mozi").await;
    site.store(&family, (0..20).map(|n| seen(n, at(3))).collect())
        .await;
    site.botnets.fold_once().await.unwrap();
    // Whoever folds has put the day there again and is not done yet.
    let mut folding = site.pool.begin().await.unwrap();
    sqlx::query("UPDATE botnet_days_due SET day = day")
        .execute(&mut *folding)
        .await
        .unwrap();
    let making = {
        let pool = site.pool.clone();
        tokio::spawn(async move { make(&pool, now()).await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!making.is_finished(), "it waits for the mark");
    site.store(&family, (20..25).map(|n| seen(n, at(3))).collect())
        .await;
    folding.commit().await.unwrap();
    making.await.unwrap().unwrap();
    fold_and_make(&site).await;
    assert_eq!(
        stored(&site, &family).await,
        brute_force(&site, &family).await
    );
}

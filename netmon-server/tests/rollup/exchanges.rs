//! NTP exchanges rolled up by server, hour and day.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::site::Site;

const TEN: OffsetDateTime = datetime!(2026-11-10 10:00 UTC);

/// An exchange that took so long, as an older agent sent it: without flags.
struct Exchange {
    at: OffsetDateTime,
    kind: &'static str,
    response_time_ns: i64,
    offset_ns: i64,
}

fn basic(at: OffsetDateTime, response_time_ns: i64, offset_ns: i64) -> Exchange {
    Exchange {
        at,
        kind: "basic",
        response_time_ns,
        offset_ns,
    }
}

async fn insert(site: &Site, ordinal: i32, exchange: &Exchange) {
    sqlx::query(
        "INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan,
             inner_vlan, match, client, client_port, server, server_port, version, mode, leap,
             stratum, reference_id, response_time_ns, offset_ns, server_processing_ns)
         VALUES (1, $1, 1, 1, $2, 'eth0', 0, 0, $3, '192.0.2.1', 40000, '192.0.2.123', 123, 4, 4, 0,
                 2, 7, $4, $5, 20000)",
    )
    .bind(exchange.at)
    .bind(ordinal)
    .bind(exchange.kind)
    .bind(exchange.response_time_ns)
    .bind(exchange.offset_ns)
    .execute(site.pool())
    .await
    .unwrap();
}

/// The rows of a table, in order, as JSON.
async fn rows(site: &Site, table: &str) -> Vec<Value> {
    let rows: Vec<String> = sqlx::query_scalar(&format!(
        "SELECT to_jsonb(r)::text FROM (
             SELECT date_part('epoch', bucket)::bigint AS at, exchanges, response_time_min_ns,
                    response_time_max_ns, offset_min_ns, offset_max_ns, metric, value, count
             FROM {table} ORDER BY agent_id, interface, server, bucket) r"
    ))
    .fetch_all(site.pool())
    .await
    .unwrap();
    rows.iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect()
}

/// Two hours of exchanges, rolled up.
async fn measured() -> Site {
    let site = Site::new().await;
    site.maintain(TEN).await;
    let late = Exchange {
        kind: "late",
        ..basic(TEN + Duration::minutes(2), 9_000_000_000, 77)
    };
    for (ordinal, exchange) in (0..).zip([
        basic(TEN, 1_000_000, -500_000),
        basic(TEN + Duration::minutes(1), 1_050_000, 20_000),
        late,
        basic(TEN + Duration::hours(1), 12_000_000_000, -3),
    ]) {
        insert(&site, ordinal, &exchange).await;
    }
    site.maintain(TEN + Duration::hours(2) + Duration::minutes(5))
        .await;
    site
}

fn expected() -> [Value; 2] {
    let at = TEN.unix_timestamp();
    [
        json!({
            "at": at, "exchanges": 3, "response_time_min_ns": 1_000_000,
            "response_time_max_ns": 1_050_000, "offset_min_ns": -500_000, "offset_max_ns": 20_000,
            // Matches 1 and 3, stratum, leap, version, reference id; 1 and 1.05 ms; 20 us; 20 and 500 us.
            "metric": [1, 1, 2, 3, 4, 5, 7, 8, 9, 9], "value": [1, 3, 2, 0, 4, 7, 40, 6, 6, 33],
            "count": [2, 1, 3, 3, 3, 3, 2, 2, 1, 1],
        }),
        json!({
            "at": at + 3600, "exchanges": 1, "response_time_min_ns": 12_000_000_000_i64,
            "response_time_max_ns": 12_000_000_000_i64, "offset_min_ns": -3, "offset_max_ns": -3,
            "metric": [1, 2, 3, 4, 5, 7, 8, 9], "value": [1, 2, 0, 4, 7, 120, 6, -1],
            "count": [1, 1, 1, 1, 1, 1, 1, 1],
        }),
    ]
}

fn expected_day() -> Value {
    json!({
        "at": datetime!(2026-11-10 0:00 UTC).unix_timestamp(), "exchanges": 4,
        "response_time_min_ns": 1_000_000, "response_time_max_ns": 12_000_000_000_i64,
        "offset_min_ns": -500_000, "offset_max_ns": 20_000,
        "metric": [1, 1, 2, 3, 4, 5, 7, 7, 8, 9, 9, 9],
        "value": [1, 3, 2, 0, 4, 7, 40, 120, 6, -1, 6, 33],
        "count": [3, 1, 4, 4, 4, 4, 2, 1, 3, 1, 1, 1],
    })
}

#[tokio::test]
async fn an_hour_and_a_day_count_what_their_exchanges_were() {
    let site = measured().await;
    assert_eq!(rows(&site, "ntp_hours").await, expected());
    assert_eq!(rows(&site, "ntp_days").await, [expected_day()]);
}

#[tokio::test]
async fn late_exchanges_are_worked_in_and_doing_it_again_changes_nothing() {
    let site = measured().await;
    let later = TEN + Duration::hours(3);
    for _ in 0..2 {
        let mark = "INSERT INTO late_hours VALUES (1, 'ntp_exchanges', $1, $1, $1)";
        sqlx::query(mark)
            .bind(TEN)
            .execute(site.pool())
            .await
            .unwrap();
        site.maintain(later).await;
        assert_eq!(rows(&site, "ntp_hours").await, expected());
        assert_eq!(rows(&site, "ntp_days").await, [expected_day()]);
    }
}

#[tokio::test]
async fn exchanges_older_than_those_kept_are_added_once_and_deleted() {
    let site = measured().await;
    let later = TEN + Duration::days(5);
    let dropped = site.maintain(later).await.dropped;
    assert!(
        dropped.contains(&"ntp_exchanges_20261110".to_owned()),
        "{dropped:?}"
    );
    site.server.days(&["2026-11-10"]).await;
    insert(
        &site,
        9,
        &basic(TEN + Duration::minutes(9), 1_000_000, 500_000),
    )
    .await;
    let mark = "INSERT INTO late_hours VALUES (1, 'ntp_exchanges', $1, $1, $1)";
    sqlx::query(mark)
        .bind(TEN)
        .execute(site.pool())
        .await
        .unwrap();
    let rolled = site.maintain(later).await.rolled_up;
    let of_ntp = rolled
        .iter()
        .find(|of| of.series.table() == "ntp_exchanges");
    assert_eq!(of_ntp.unwrap().folded, 1);
    assert_eq!(site.number("SELECT count(*) FROM ntp_exchanges").await, 0);

    let mut hour = expected()[0].clone();
    hour["exchanges"] = json!(4);
    hour["offset_max_ns"] = json!(500_000);
    hour["count"] = json!([3, 1, 4, 4, 4, 4, 3, 3, 1, 2]);
    assert_eq!(
        rows(&site, "ntp_hours").await,
        [hour, expected()[1].clone()]
    );
    let mut day = expected_day();
    day["exchanges"] = json!(5);
    day["offset_max_ns"] = json!(500_000);
    day["count"] = json!([4, 1, 5, 5, 5, 5, 3, 1, 4, 1, 1, 2]);
    assert_eq!(rows(&site, "ntp_days").await, [day]);
}

/// Two exchanges that an agent counted together: answered in 1 ms, 500 us off, and not answered.
async fn insert_fold(site: &Site, at: OffsetDateTime) {
    sqlx::query(
        "INSERT INTO ntp_folds (agent_id, at, epoch, sequence, ordinal, last_at, interface, vlan,
             inner_vlan, client, server, exchanges, answered, response_time_min_ns,
             response_time_max_ns, response_time_sum_ns, server_processing_sum_ns, offset_min_ns,
             offset_max_ns, absolute_offset_sum_ns, metric, value, count)
         VALUES (1, $1, 1, 1, 0, $1, 'eth0', 0, 0, '192.0.2.1', '192.0.2.123', 2, 1, 1000000, 1000000,
             1000000, 20000, 500000, 500000, 500000, '{1,1,2,3,4,5,7,8,9}', '{1,2,2,0,4,7,40,6,33}',
             '{1,1,1,1,1,1,1,1,1}')",
    )
    .bind(at)
    .execute(site.pool())
    .await
    .unwrap();
}

async fn mark(site: &Site) {
    let mark = "INSERT INTO late_hours VALUES (1, 'ntp_exchanges', $1, $1, $1)";
    sqlx::query(mark)
        .bind(TEN)
        .execute(site.pool())
        .await
        .unwrap();
}

/// The first hour and the day, with that fold.
fn expected_with_fold() -> (Value, Value) {
    let mut hour = expected()[0].clone();
    hour["exchanges"] = json!(5);
    hour["offset_max_ns"] = json!(500_000);
    hour["metric"] = json!([1, 1, 1, 2, 3, 4, 5, 7, 8, 9, 9]);
    hour["value"] = json!([1, 2, 3, 2, 0, 4, 7, 40, 6, 6, 33]);
    hour["count"] = json!([3, 1, 1, 4, 4, 4, 4, 3, 3, 1, 2]);
    let mut day = expected_day();
    day["exchanges"] = json!(6);
    day["offset_max_ns"] = json!(500_000);
    day["metric"] = json!([1, 1, 1, 2, 3, 4, 5, 7, 7, 8, 9, 9, 9]);
    day["value"] = json!([1, 2, 3, 2, 0, 4, 7, 40, 120, 6, -1, 6, 33]);
    day["count"] = json!([4, 1, 1, 5, 5, 5, 5, 3, 1, 4, 1, 1, 2]);
    (hour, day)
}

#[tokio::test]
async fn what_agents_counted_together_is_rolled_up_with_the_rest() {
    let site = measured().await;
    insert_fold(&site, TEN + Duration::minutes(9)).await;
    mark(&site).await;
    let (hour, day) = expected_with_fold();
    for _ in 0..2 {
        site.maintain(TEN + Duration::hours(3)).await;
        assert_eq!(
            rows(&site, "ntp_hours").await,
            [hour.clone(), expected()[1].clone()]
        );
        assert_eq!(rows(&site, "ntp_days").await, std::slice::from_ref(&day));
        mark(&site).await;
    }
}

#[tokio::test]
async fn folds_go_with_the_exchanges_of_their_day_and_late_ones_are_added_once() {
    let site = measured().await;
    insert_fold(&site, TEN + Duration::minutes(9)).await;
    mark(&site).await;
    let (hour, day) = expected_with_fold();
    let later = TEN + Duration::days(5);
    let dropped = site.maintain(later).await.dropped;
    for table in ["ntp_exchanges", "ntp_folds"] {
        let partition = format!("{table}_20261110");
        assert!(dropped.contains(&partition), "{dropped:?}");
    }
    assert_eq!(
        rows(&site, "ntp_hours").await,
        [hour.clone(), expected()[1].clone()]
    );

    site.server.days(&["2026-11-10"]).await;
    insert_fold(&site, TEN + Duration::minutes(9)).await;
    mark(&site).await;
    let rolled = site.maintain(later).await.rolled_up;
    let of_ntp = rolled
        .iter()
        .find(|of| of.series.table() == "ntp_exchanges");
    assert_eq!(of_ntp.unwrap().folded, 1);
    assert_eq!(site.number("SELECT count(*) FROM ntp_folds").await, 0);
    let (mut twice, mut twice_day) = (hour, day);
    twice["exchanges"] = json!(7);
    twice["count"] = json!([4, 2, 1, 5, 5, 5, 5, 4, 4, 1, 3]);
    twice_day["exchanges"] = json!(8);
    twice_day["count"] = json!([5, 2, 1, 6, 6, 6, 6, 4, 1, 5, 1, 1, 3]);
    assert_eq!(
        rows(&site, "ntp_hours").await,
        [twice, expected()[1].clone()]
    );
    assert_eq!(rows(&site, "ntp_days").await, [twice_day]);
}

#[tokio::test]
async fn a_busy_hour_equals_its_exchanges() {
    let site = Site::new().await;
    site.maintain(TEN).await;
    sqlx::query(
        "INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan,
             inner_vlan, match, client, client_port, server, server_port, stratum, mode, flags,
             vantage, response_time_ns, offset_ns)
         SELECT 1 + n % 2, timestamptz '2026-11-10 10:00Z' + n * interval '300 milliseconds', 1, 1, n,
                'eth' || n % 3, 0, 0, (ARRAY['basic', 'unanswered', 'weak'])[1 + n % 3], '192.0.2.1', 1,
                ('192.0.2.' || 1 + n % 5)::inet, 123, n % 4, 4, n % 2, 'client', n * 1000, n * 1000
         FROM generate_series(1, 10000) n",
    )
    .execute(site.pool())
    .await
    .unwrap();
    site.maintain(TEN + Duration::hours(2)).await;
    let counted = |metric: i32| {
        format!("SELECT sum(c) FROM ntp_days, unnest(metric, count) AS p (m, c) WHERE m = {metric}")
    };
    assert_eq!(
        site.number("SELECT sum(exchanges) FROM ntp_hours").await,
        10_000
    );
    assert_eq!(site.number(&counted(1)).await, 10_000);
    let in_time = "SELECT count(*) FROM ntp_exchanges WHERE match <> 'unanswered' AND stratum > 0";
    let in_time = site.number(in_time).await;
    assert_eq!(site.number(&counted(7)).await, in_time);
    let good = "SELECT count(*) FROM ntp_exchanges WHERE match <> 'unanswered' AND stratum > 0 AND flags = 1";
    let good = site.number(good).await;
    assert!(good > 0 && good < in_time);
    assert_eq!(site.number(&counted(9)).await, good);
}

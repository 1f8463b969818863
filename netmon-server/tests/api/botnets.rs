//! Two families with nodes in several places, and what follows from them, as the store leaves it.

use serde_json::Value;

use crate::server::Server;

/// Nodes of mozi; those of moobot are the first five and one of its own.
pub const NODES: i64 = 60;

/// A server with families that have nodes. Some changes are not folded into statistics yet.
pub async fn server() -> Server {
    let server = Server::start().await;
    server.agent(1, "edge").await;
    for day in 18..=20 {
        let day = time::Date::from_calendar_date(2026, time::Month::November, day);
        server.communications_of(day.unwrap()).await;
    }
    server.sql(FILL).await;
    server
}

/// Node n of mozi is 1.0.0.n at place n % 7, first seen n hours into 18 November, last seen at noon of
/// the 20th and n minutes, n times. The rest of them are IPv6.
const FILL: &str = "
    INSERT INTO botnet_places (place_id, country, province, city) VALUES
        (1, 'CN', 'CN-JS', '320100'), (2, 'CN', 'CN-JS', '320500'), (3, 'CN', 'CN-ZJ', '330100'),
        (4, 'CN', '', ''), (5, 'NL', '', ''), (6, 'US', '', '');
    INSERT INTO botnet_geo_editions (edition_id, fingerprint, description, first_used)
    VALUES (1, 'f', 'the embedded files', '2026-11-01 00:00Z');
    INSERT INTO botnet_sources (source_id, kind, name) VALUES
        (1, 'log', 'sinkhole'), (2, 'agent', '0000000000000001');
    INSERT INTO botnet_nodes (family_id, ip, first_seen, last_seen, communications, place_id, edition_id)
    SELECT family_id, inet '1.0.0.0' + n, timestamptz '2026-11-18 00:00Z' + n * interval '1 hour',
           timestamptz '2026-11-20 12:00Z' + n * interval '1 minute', n, n % 7, 1
    FROM botnet_families, generate_series(1, 55) n WHERE name = 'mozi';
    INSERT INTO botnet_nodes (family_id, ip, first_seen, last_seen, communications, place_id, edition_id)
    SELECT family_id, inet '2400::' + n, timestamptz '2026-11-19 06:00Z', timestamptz '2026-11-19 07:00Z',
           2, 5, 1
    FROM botnet_families, generate_series(1, 5) n WHERE name = 'mozi';
    INSERT INTO botnet_nodes (family_id, ip, first_seen, last_seen, communications, place_id, edition_id)
    SELECT family_id, inet '1.0.0.0' + n, '2026-11-19 00:00Z', '2026-11-19 01:30Z', 3, n % 7, 1
    FROM botnet_families, unnest(ARRAY[1, 2, 3, 4, 5, 200]) n WHERE name = 'moobot';

    -- One sighting in the last hour by an agent, the others in the first by a log.
    INSERT INTO botnet_communications (family_id, ip, bucket, source_id, count, first_seen, last_seen, ports)
    SELECT family_id, ip, date_trunc('hour', first_seen, 'UTC'), 1, greatest(communications - 1, 1),
           first_seen, first_seen, ARRAY[23, 2323]
    FROM botnet_nodes;
    INSERT INTO botnet_communications (family_id, ip, bucket, source_id, count, first_seen, last_seen,
        ports, local_ports, inbound_packets, inbound_bytes, outbound_packets, outbound_bytes)
    SELECT family_id, ip, date_trunc('hour', last_seen, 'UTC'), 2, 1, last_seen, last_seen,
           ARRAY[23], ARRAY[443], 10, 1000, 20, 2000
    FROM botnet_nodes WHERE communications > 1;

    -- Of every third place nothing is folded, of the others one node is not.
    INSERT INTO botnet_statistics (family_id, place_id, nodes, communications)
    SELECT family_id, place_id, count(*) - 1, sum(communications) - max(communications)
    FROM botnet_nodes WHERE place_id % 3 <> 0 GROUP BY family_id, place_id;
    INSERT INTO botnet_deltas (family_id, place_ids, nodes, communications, days)
    SELECT family_id, array_agg(place_id), array_agg(1), array_agg(most), '{}'
    FROM (SELECT family_id, place_id, max(communications) AS most
          FROM botnet_nodes WHERE place_id % 3 <> 0 GROUP BY 1, 2) unfolded GROUP BY family_id;
    INSERT INTO botnet_deltas (family_id, place_ids, nodes, communications, days)
    SELECT family_id, array_agg(place_id), array_agg(nodes), array_agg(communications), '{}'
    FROM (SELECT family_id, place_id, count(*) AS nodes, sum(communications) AS communications
          FROM botnet_nodes WHERE place_id % 3 = 0 GROUP BY 1, 2) unfolded GROUP BY family_id;
    -- A node that came, and one that went.
    INSERT INTO botnet_deltas (family_id, place_ids, nodes, communications, days)
    SELECT family_id, '{1}', '{1}', '{100}', '{}' FROM botnet_families WHERE name = 'mozi';
    INSERT INTO botnet_deltas (family_id, place_ids, nodes, communications, days)
    SELECT family_id, '{1}', '{-1}', '{-100}', '{}' FROM botnet_families WHERE name = 'mozi';

    INSERT INTO botnet_active (family_id, place_id, as_of, day, week, month)
    SELECT family_id, place_id, '2026-11-20 13:00Z', count(*) FILTER (WHERE last_seen >= '2026-11-19 13:00Z'),
           count(*), count(*)
    FROM botnet_nodes WHERE family_id = (SELECT family_id FROM botnet_families WHERE name = 'mozi')
    GROUP BY family_id, place_id;
    INSERT INTO botnet_days (family_id, day, place_id, nodes, new_nodes, communications)
    SELECT family_id, date '2026-11-18' + n, place_id, 10 * n + place_id, n, 100 * n + place_id
    FROM botnet_families, generate_series(0, 2) n, generate_series(0, 6) place_id WHERE name = 'mozi';
    INSERT INTO botnet_days_due (family_id, day)
    SELECT family_id, '2026-11-19' FROM botnet_families WHERE name = 'mozi'";

impl Server {
    /// Makes the partition of a day.
    pub async fn communications_of(&self, day: time::Date) {
        let name = day.to_string().replace('-', "");
        let next = day.next_day().unwrap();
        self.sql(&format!(
            "CREATE TABLE IF NOT EXISTS botnet_communications_{name}
             PARTITION OF botnet_communications FOR VALUES FROM ('{day} 00:00Z') TO ('{next} 00:00Z')"
        ))
        .await;
    }

    /// One number, by SQL.
    pub async fn number(&self, sql: &str) -> i64 {
        let number: Option<i64> = sqlx::query_scalar(sql)
            .fetch_one(&self.database)
            .await
            .unwrap();
        number.unwrap_or_default()
    }

    /// The addresses of a list, all pages of it.
    pub async fn addresses(&self, uri: &str) -> Vec<String> {
        let pages = self.pages(uri, async |_| ()).await;
        let items = pages.into_iter().flatten();
        items.map(|item| text(&item["address"])).collect()
    }
}

/// The text of a JSON string.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

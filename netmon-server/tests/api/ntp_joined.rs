//! `/api/v1/ntp/joined` and its statistics.

use serde_json::{Value, json};

use crate::server::Server;

const RANGE: &str = "from=2026-11-20T10:00:00Z&to=2026-11-20T11:00:00Z";

/// 2026-11-20 10:00 UTC.
const TEN_NS: i64 = 1_795_168_800_000_000_000;
const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;

/// A sensor on the way of 3 ms there and 7 ms back.
struct Place {
    agent: i64,
    vantage: &'static str,
    from_client_ns: i64,
    to_client_ns: i64,
}

const CLIENT: Place = Place {
    agent: 1,
    vantage: "client",
    from_client_ns: 0,
    to_client_ns: 0,
};
const MIDDLE: Place = Place {
    agent: 2,
    vantage: "transit",
    from_client_ns: MS,
    to_client_ns: MS,
};
const SERVER: Place = Place {
    agent: 3,
    vantage: "server",
    from_client_ns: 3 * MS,
    to_client_ns: 7 * MS,
};

/// One exchange; the cookie tells it from others.
#[derive(Clone, Copy)]
struct Asked {
    cookie: i64,
    at_ns: i64,
    client: &'static str,
    synchronised: &'static str,
}

fn asked(cookie: i64) -> Asked {
    Asked {
        cookie,
        at_ns: TEN_NS + cookie * SECOND,
        client: "192.0.2.1",
        synchronised: "true",
    }
}

/// Stores what a sensor saw: 50 us at the server, whose clock is 1 ms ahead.
async fn seen(server: &Server, place: &Place, asked: Asked) {
    let requested_ns = asked.at_ns + place.from_client_ns;
    let t2 = asked.at_ns + 3 * MS + MS;
    let t3 = t2 + 50_000;
    let answered_ns = asked.at_ns + 10 * MS + 50_000 - place.to_client_ns;
    let offset_ns = i64::midpoint(t2 - requested_ns, t3 - answered_ns);
    let response_ns = answered_ns - requested_ns;
    let Place { agent, vantage, .. } = place;
    let Asked {
        cookie,
        client,
        synchronised,
        ..
    } = asked;
    server
        .sql(&format!(
            "INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan, \
             inner_vlan, match, client, client_port, server, server_port, requested_at_ns, \
             answered_at_ns, origin_timestamp, receive_timestamp, transmit_timestamp, \
             request_transmit_timestamp, request_ttl, response_time_ns, server_processing_ns, \
             offset_ns, offset_error_ns, clock_synchronised, clock_maximum_error_ns, vantage, flags) \
             VALUES ({agent}, timestamptz 'epoch' + {requested_ns} / 1000 * interval '1 us', 1, 1, \
             {cookie}, 'eth0', 0, 0, 'basic', '{client}', 40000, '192.0.2.123', 123, \
             {requested_ns}, {answered_ns}, {cookie}, {t2}, {t3}, {cookie}, 64, {response_ns}, \
             50000, {offset_ns}, {error_ns}, {synchronised}, 200000, '{vantage}', 1); \
             INSERT INTO ntp_clients (agent_id, interface, client, server, client_port, server_port, \
             first_seen, last_seen, session_count, answered_count) VALUES ({agent}, 'eth0', \
             '{client}', '192.0.2.123', 40000, 123, now(), now(), 1, 1) ON CONFLICT DO NOTHING",
            error_ns = (response_ns - 50_000) / 2,
        ))
        .await;
}

async fn server() -> Server {
    let server = Server::start().await;
    server.days(&["2026-11-19", "2026-11-20"]).await;
    for (id, alias) in [(1, "edge"), (2, "core"), (3, "clock")] {
        server.agent(id, alias).await;
    }
    server
}

fn cookies(items: &[Value]) -> Vec<i64> {
    let cookie = |item: &Value| {
        let digits = item["request_transmit_timestamp"].as_str().unwrap();
        i64::from_str_radix(digits, 16).unwrap()
    };
    items.iter().map(cookie).collect()
}

#[tokio::test]
async fn an_exchange_seen_at_three_places_is_one_with_its_delays() {
    let server = server().await;
    for place in [&SERVER, &CLIENT, &MIDDLE] {
        seen(&server, place, asked(7)).await;
    }
    let mut list = server
        .json(&format!("/api/v1/ntp/joined?{RANGE}&client=192.0.2.1"))
        .await;
    assert_eq!(list["next_cursor"], Value::Null);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let mut item = list["items"][0].take();
    let sightings = item["sightings"].take();
    assert_eq!(
        item,
        json!({
            "client": "192.0.2.1", "client_port": 40000,
            "server": "192.0.2.123", "server_port": 123, "translated": false,
            "request_transmit_timestamp": "0000000000000007",
            "receive_timestamp": format!("{:016x}", TEN_NS + 7 * SECOND + 4 * MS),
            "transmit_timestamp": format!("{:016x}", TEN_NS + 7 * SECOND + 4 * MS + 50_000),
            "server_processing_ns": 50_000, "ordered_by": "vantage", "sightings": null,
            "legs": [
                {"from": 0, "to": 1, "forward_ns": MS, "backward_ns": MS, "error_ns": 400_000,
                 "asymmetry_ns": 0, "asymmetry_error_ns": 800_000, "round_trip_ns": 2 * MS,
                 "null_reason": null},
                {"from": 1, "to": 2, "forward_ns": 2 * MS, "backward_ns": 6 * MS,
                 "error_ns": 400_000, "asymmetry_ns": -4 * MS, "asymmetry_error_ns": 800_000,
                 "round_trip_ns": 8 * MS, "null_reason": null},
            ],
            "whole": {"from": 0, "to": 2, "forward_ns": 3 * MS, "backward_ns": 7 * MS,
                 "error_ns": 400_000, "asymmetry_ns": -4 * MS, "asymmetry_error_ns": 800_000,
                 "round_trip_ns": 10 * MS, "null_reason": null},
            "server_clock": {"sighting": 2, "offset_ns": MS, "error_ns": 200_000,
                 "null_reason": null},
        })
    );
    assert_eq!(
        sightings[0],
        json!({
            "agent": "0000000000000001", "agent_alias": "edge", "interface": "eth0", "vlan": 0,
            "inner_vlan": 0, "vantage": "client", "match": "basic", "client": "192.0.2.1",
            "client_port": 40000, "server": "192.0.2.123", "server_port": 123,
            "requested_at": "2026-11-20T10:00:07Z", "answered_at": "2026-11-20T10:00:07.01005Z",
            "response_time_ns": 10 * MS + 50_000, "offset_ns": -MS,
            "offset_from_asymmetry_ns": -2 * MS, "clock_synchronised": true,
            "clock_maximum_error_ns": 200_000,
        })
    );
    assert_eq!(sightings[2]["offset_ns"], MS);
    assert_eq!(sightings[2]["offset_from_asymmetry_ns"], 0);
}

#[tokio::test]
async fn pages_hold_every_exchange_once_newest_first() {
    let server = server().await;
    for cookie in 1..=40 {
        // As dense as sightings of one exchange are apart, so that pages end in the midst of them.
        let asked = Asked {
            at_ns: TEN_NS + cookie * 2 * MS,
            ..asked(cookie)
        };
        seen(&server, &CLIENT, asked).await;
        if cookie % 5 != 0 {
            seen(&server, &SERVER, asked).await;
        }
        if cookie % 3 == 0 {
            seen(&server, &MIDDLE, asked).await;
        }
    }
    let expected: Vec<i64> = (1..=40)
        .rev()
        .filter(|n| n % 5 != 0 || n % 3 == 0)
        .collect();
    for limit in [1, 2, 7, 100] {
        let uri = format!("/api/v1/ntp/joined?{RANGE}&limit={limit}");
        let pages = server.pages(&uri, async |_| ()).await;
        let mut got = cookies(&pages.concat());
        assert!(pages.iter().all(|page| page.len() <= limit), "{limit}");
        // Those seen at the client and in the middle only were seen there 2 ms before others.
        assert_eq!(got.len(), expected.len(), "{limit}: {got:?}");
        got.sort_unstable_by_key(|cookie| -cookie);
        assert_eq!(got, expected, "{limit}");
    }
}

#[tokio::test]
async fn more_rows_than_one_round_takes_are_swept_to_the_end() {
    let server = server().await;
    server
        .sql(
            "INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan, \
             inner_vlan, match, client, client_port, server, server_port, requested_at_ns, \
             request_transmit_timestamp, receive_timestamp, transmit_timestamp) \
             SELECT agent, timestamptz '2026-11-20 10:00Z' + n * interval '1 second', 1, agent, n, \
             'eth0', 0, 0, 'basic', '192.0.2.1', 1, '192.0.2.123', 123, n, n, n, n + 1 \
             FROM generate_series(1, 2) agent, generate_series(1, 3000) n \
             WHERE agent = 1 OR n % 10 = 0",
        )
        .await;
    let uri = format!("/api/v1/ntp/joined?{RANGE}&agents=edge,core&limit=90");
    let pages = server.pages(&uri, async |_| ()).await;
    let got = cookies(&pages.concat());
    let expected: Vec<i64> = (1..=300).rev().map(|n| n * 10).collect();
    assert_eq!(got, expected);

    let statistics = server
        .json(&format!(
            "/api/v1/ntp/joined/statistics?{RANGE}&agent=edge,core"
        ))
        .await;
    assert_eq!(statistics["joined"], 300);
    assert_eq!(statistics["alone"], 2700);
    assert_eq!(statistics["reaches_back_to"], "2026-11-20T10:00:00Z");
}

#[tokio::test]
async fn statistics_are_those_of_each_two_places() {
    let server = server().await;
    for cookie in 1..=20 {
        for place in [&CLIENT, &MIDDLE, &SERVER] {
            seen(&server, place, asked(cookie)).await;
        }
    }
    let uri = format!("/api/v1/ntp/joined/statistics?{RANGE}&server=192.0.2.123");
    let got = server.json(&uri).await;
    assert_eq!(got["joined"], 20);
    assert_eq!(got["ambiguous"], 0);
    let items = got["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    let whole = items.iter().find(|pair| pair["neighbours"] == false);
    let whole = whole.unwrap();
    let summary = |ns: i64| json!({"count": 20, "median_ns": ns, "p95_ns": ns});
    assert_eq!(whole["from"]["agent_alias"], "edge");
    assert_eq!(whole["to"]["agent_alias"], "clock");
    assert_eq!(whole["forward"], summary(3 * MS));
    assert_eq!(whole["backward"], summary(7 * MS));
    assert_eq!(whole["asymmetry"], summary(-4 * MS));
    assert_eq!(whole["round_trip"], summary(10 * MS));
    assert_eq!(whole["offset_at_from"], summary(-MS));
    assert_eq!(whole["offset_at_to"], summary(MS));
    assert_eq!(whole["error_ns"], 400_000);
    assert_eq!(whole["null_reasons"], json!([]));
}

#[tokio::test]
async fn clocks_that_nobody_keeps_give_round_trips_only_unless_the_caller_knows_better() {
    let server = server().await;
    let adrift = Asked {
        synchronised: "false",
        ..asked(1)
    };
    for place in [&CLIENT, &SERVER] {
        seen(&server, place, adrift).await;
    }
    let leg = async |clocks: &str| {
        let uri = format!("/api/v1/ntp/joined?{RANGE}{clocks}");
        server.json(&uri).await["items"][0]["legs"][0].take()
    };
    let honest = leg("").await;
    assert_eq!(honest["forward_ns"], Value::Null);
    assert_eq!(honest["null_reason"], "sensor_unsynchronised");
    assert_eq!(honest["round_trip_ns"], 10 * MS);
    let assumed = leg("&clocks=assumed").await;
    assert_eq!(assumed["forward_ns"], 3 * MS);
    assert_eq!(assumed["backward_ns"], 7 * MS);
    // Nobody says how wrong they are; but no way takes less than nothing.
    assert_eq!(assumed["error_ns"], 7 * MS);
    let uri = format!("/api/v1/ntp/joined/statistics?{RANGE}");
    assert_eq!(
        server.json(&uri).await["items"][0]["null_reasons"],
        json!([{"reason": "sensor_unsynchronised", "count": 1}])
    );
}

#[tokio::test]
async fn a_client_behind_a_nat_is_joined_under_all_its_addresses() {
    let server = server().await;
    seen(&server, &CLIENT, asked(5)).await;
    let outside = Asked {
        client: "203.0.113.9",
        ..asked(5)
    };
    seen(&server, &SERVER, outside).await;
    for (filter, count) in [
        ("&client=192.0.2.1", 0),
        ("&client=192.0.2.1,203.0.113.9", 1),
        ("&server=192.0.2.123", 1),
    ] {
        let uri = format!("/api/v1/ntp/joined?{RANGE}{filter}");
        let items = server.json(&uri).await["items"].take();
        assert_eq!(items.as_array().unwrap().len(), count, "{filter}");
        if count == 1 {
            assert_eq!(items[0]["translated"], true);
            assert_eq!(items[0]["client"], "192.0.2.1");
            assert_eq!(items[0]["sightings"][1]["client"], "203.0.113.9");
        }
    }
}

#[tokio::test]
async fn filters_choose_what_is_joined() {
    let server = server().await;
    for cookie in [1, 2] {
        for place in [&CLIENT, &MIDDLE, &SERVER] {
            seen(&server, place, asked(cookie)).await;
        }
    }
    for (filter, expected) in [
        ("", vec![2, 1]),
        ("&request_transmit_timestamp=0000000000000001", vec![1]),
        ("&request_transmit_timestamp=00000000000000ff", vec![]),
        ("&agents=edge,clock", vec![2, 1]),
        ("&agent=edge", vec![]),
        ("&client=192.0.2.2", vec![]),
        ("&server=192.0.2.0/24", vec![2, 1]),
        ("&interface=eth1", vec![]),
        // 3 ms lie between the client and the server.
        ("&agents=edge,clock&tolerance=0.002", vec![]),
        ("&agents=edge,clock&tolerance=0.004", vec![2, 1]),
    ] {
        let uri = format!("/api/v1/ntp/joined?{RANGE}{filter}");
        let items = server.json(&uri).await["items"].take();
        assert_eq!(cookies(items.as_array().unwrap()), expected, "{filter}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let server = server().await;
    for (parameter, name) in [
        ("clocks=mine", "clocks"),
        ("tolerance=61", "tolerance"),
        (
            "request_transmit_timestamp=12",
            "request_transmit_timestamp",
        ),
        ("client=nobody", "client"),
        ("limit=0", "limit"),
        ("cursor=AAAA", "cursor"),
    ] {
        let answer = server.get(&format!("/api/v1/ntp/joined?{parameter}")).await;
        assert_eq!(answer.status, 400, "{parameter}");
        assert_eq!(answer.json()["parameter"], name, "{parameter}");
    }
    for id in 10..80 {
        server.agent(id, &format!("agent{id}")).await;
    }
    let answer = server.get(&format!("/api/v1/ntp/joined?{RANGE}")).await;
    assert_eq!(answer.json()["parameter"], "agent", "{}", answer.text());
    let uri = format!("/api/v1/ntp/joined?{RANGE}&client=192.0.2.1");
    assert_eq!(server.json(&uri).await["items"], json!([]));
}

//! Queries read only the partitions and the part of the index that their range needs.
//!
//! PostgreSQL's own auto_explain writes the plan of what the API really ran into its log.

use crate::server::{Server, cluster};

const DAYS: [&str; 3] = ["2026-11-18", "2026-11-19", "2026-11-20"];

/// Three days of a frame and an exchange a minute from each of two agents on two interfaces.
async fn server() -> Server {
    let server = Server::start().await;
    server.days(&DAYS).await;
    for (id, alias) in [(1, "edge"), (2, "core")] {
        server.agent(id, alias).await;
        server.interface(id, "eth0").await;
        server.interface(id, "eth1").await;
    }
    server
        .sql(&format!(
            "INSERT INTO bandwidth_stats (agent_id, interface, started_at, epoch, sequence, \
             ifindex, attachment, interval_us, ingress_packets, ingress_bytes, egress_packets, egress_bytes, \
             ingress_total_packets, ingress_total_bytes, egress_total_packets, egress_total_bytes) \
             SELECT agent, 'eth' || interface, at, 1, 1, 2, 1, '{{1000000}}', '{{1}}', '{{1}}', \
             '{{1}}', '{{1}}', 1, 1, 1, 1 \
             FROM generate_series(1, 2) agent, generate_series(0, 1) interface, \
             generate_series(timestamptz '2026-11-18 00:00Z', '2026-11-20 23:59Z', '1 minute') at; \
             INSERT INTO ntp_exchanges (agent_id, at, epoch, sequence, ordinal, interface, vlan, \
             inner_vlan, match, client, client_port, server, server_port) \
             SELECT agent, at, 1, 1, 0, 'eth0', 0, 0, 'basic', '192.0.2.1', 1, '192.0.2.123', 123 \
             FROM generate_series(1, 2) agent, \
             generate_series(timestamptz '2026-11-18 00:00Z', '2026-11-20 23:59Z', '1 minute') at; \
             ANALYZE bandwidth_stats; ANALYZE ntp_exchanges; \
             ALTER DATABASE {name} SET session_preload_libraries = 'auto_explain'; \
             ALTER DATABASE {name} SET auto_explain.log_min_duration = 0",
            name = server.database_name()
        ))
        .await;
    server
}

/// The plan of the statement that read `table` for `uri`.
async fn plan(server: &Server, table: &str, uri: &str) -> String {
    let prefix = format!("{}: ", server.database_name());
    // The same statement often enough for PostgreSQL to consider a plan for any parameters.
    for _ in 0..7 {
        server.json(uri).await;
    }
    let log = cluster().await.log();
    // Lines that continue an entry begin with a tab.
    let entries = log.replace("\n\t", "\t");
    let mut plans = entries
        .lines()
        .filter(|line| line.starts_with(&prefix) && line.contains("plan:"));
    let plan = plans.rfind(|plan| plan.contains(&format!("FROM {table}")));
    plan.expect("the plan is in the log").replace('\t', "\n")
}

fn assert_reads_one_day_by_its_key(plan: &str, table: &str, condition: &str) {
    assert!(plan.contains(&format!("{table}_20261119_pkey")), "{plan}");
    for other in ["20261118", "20261120"] {
        assert!(!plan.contains(&format!("{table}_{other}")), "{plan}");
    }
    assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
    let lines = plan.lines().filter(|line| line.contains("Index Cond"));
    let conditions: Vec<_> = lines.filter(|line| line.contains(condition)).collect();
    assert!(!conditions.is_empty(), "{plan}");
    for line in conditions {
        assert!(
            line.contains("agent_id"),
            "the index is entered by its first column: {line}"
        );
    }
}

const RANGE: &str = "from=2026-11-19T10:00:00Z&to=2026-11-19T11:00:00Z";

#[tokio::test]
async fn bandwidth_reads_only_its_partition_by_the_primary_key() {
    let server = server().await;
    for path in [
        "agents/edge/interfaces/eth0/bandwidth",
        "agents/edge/bandwidth",
    ] {
        let plan = plan(
            &server,
            "bandwidth_stats",
            &format!("/api/v1/{path}?{RANGE}"),
        )
        .await;
        assert_reads_one_day_by_its_key(&plan, "bandwidth_stats", "started_at");
        let condition = plan
            .lines()
            .find(|line| line.contains("Index Cond"))
            .unwrap();
        assert!(condition.contains("interface = ANY"), "{plan}");
    }
}

#[tokio::test]
async fn exchanges_read_only_their_partition_by_the_primary_key() {
    let server = server().await;
    for filter in [
        "",
        "&agent=edge",
        "&match=basic",
        "&agent=edge&interface=eth0",
    ] {
        let uri = format!("/api/v1/ntp/exchanges?{RANGE}&limit=5{filter}");
        let plan = plan(&server, "ntp_exchanges", &uri).await;
        assert_reads_one_day_by_its_key(&plan, "ntp_exchanges", "at >=");
    }
}

#[tokio::test]
async fn a_later_page_of_exchanges_begins_at_its_cursor() {
    let server = server().await;
    let uri = format!("/api/v1/ntp/exchanges?{RANGE}&limit=5");
    let cursor = server.json(&uri).await["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let plan = plan(&server, "ntp_exchanges", &format!("{uri}&cursor={cursor}")).await;
    assert_reads_one_day_by_its_key(&plan, "ntp_exchanges", "at >=");
    let condition = plan
        .lines()
        .find(|line| line.contains("Index Cond"))
        .unwrap();
    assert!(condition.contains("at <="), "{plan}");
}

#[tokio::test]
async fn joined_exchanges_read_only_their_partition_by_a_key_of_each_agent() {
    let server = server().await;
    for filter in ["&agent=edge,core", "&agent=edge,core&client=192.0.2.1"] {
        let uri = format!("/api/v1/ntp/joined?{RANGE}&limit=5{filter}");
        let plan = plan(&server, "ntp_exchanges", &uri).await;
        for other in ["20261118", "20261120"] {
            assert!(!plan.contains(&format!("ntp_exchanges_{other}")), "{plan}");
        }
        assert!(!plan.contains("Seq Scan on ntp_exchanges"), "{plan}");
        let conditions = plan.lines().filter(|line| line.contains("Index Cond"));
        assert!(
            conditions.clone().count() > 0
                && conditions.clone().any(|line| line.contains("agent_id")),
            "{plan}"
        );
    }
}

//! Objects that violate a rule, made in a database with all tables: the lint reports each and no other.

use sqlx::{Connection, Executor};

use super::{catalog, lint::migrated, rule::Rule};

const PLANTS: &[(Rule, &str, &str)] = &[
    (
        Rule::UndeclaredTable,
        "alerts",
        "CREATE TABLE alerts (name text PRIMARY KEY)",
    ),
    (
        Rule::StaleDeclaration,
        "job_leases",
        "DROP TABLE job_leases",
    ),
    (
        Rule::StaleDeclaration,
        "job_leases",
        "ALTER TABLE job_leases ADD agent_id bigint NOT NULL, DROP CONSTRAINT job_leases_pkey",
    ),
    (
        Rule::KeyWithoutAgent,
        "alerts",
        "CREATE TABLE alerts (agent_id bigint NOT NULL, name text PRIMARY KEY)",
    ),
    (
        Rule::KeyWithoutAgent,
        "interfaces",
        "CREATE UNIQUE INDEX one_index ON interfaces (ifindex)",
    ),
    (
        Rule::KeyWithoutAgent,
        "interfaces",
        "CREATE UNIQUE INDEX one_index ON interfaces (ifindex) INCLUDE (agent_id)",
    ),
    (
        Rule::KeyWithoutAgent,
        "interfaces",
        "ALTER TABLE interfaces ADD EXCLUDE USING btree (name WITH =)",
    ),
    (
        Rule::ForeignKeyWithoutAgent,
        "alerts",
        "CREATE TABLE alerts (agent_id bigint PRIMARY KEY, of bigint REFERENCES agents)",
    ),
    (
        Rule::AgentUpdated,
        "alerts",
        "CREATE TABLE alerts (agent_id bigint PRIMARY KEY REFERENCES agents ON UPDATE CASCADE)",
    ),
    (
        Rule::NarrowId,
        "alerts",
        "CREATE TABLE alerts (agent_id bigint PRIMARY KEY, alert_id int4)",
    ),
    (
        Rule::NarrowId,
        "alerts",
        "CREATE TABLE alerts (agent_id bigint)",
    ),
    (
        Rule::Sequence,
        "alert_numbers",
        "CREATE SEQUENCE alert_numbers",
    ),
    (
        Rule::Sequence,
        "alerts",
        "CREATE TABLE alerts (agent_id bigint PRIMARY KEY, n bigserial)",
    ),
    (
        Rule::Sequence,
        "alerts",
        "CREATE TABLE alerts (agent_id bigint PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY)",
    ),
    (
        Rule::Trigger,
        "agents",
        "CREATE TRIGGER look BEFORE UPDATE ON agents
             FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    (
        Rule::Trigger,
        "agents",
        "CREATE RULE look AS ON DELETE TO agents DO INSTEAD NOTHING",
    ),
    (
        Rule::SubPartition,
        "deep",
        "CREATE TABLE deep PARTITION OF ntp_exchanges
             FOR VALUES FROM ('2026-11-21') TO ('2026-11-22') PARTITION BY HASH (agent_id)",
    ),
    (
        Rule::MaterializedView,
        "busy",
        "CREATE MATERIALIZED VIEW busy AS SELECT agent_id FROM agents",
    ),
    (
        Rule::GroupingSets,
        "summed",
        "CREATE VIEW summed AS
             SELECT agent_id, name, count(*) FROM interfaces GROUP BY ROLLUP (agent_id, name)",
    ),
    (
        Rule::SkipLocked,
        "take",
        "CREATE FUNCTION take() RETURNS bigint LANGUAGE sql AS
             'SELECT agent_id FROM agents FOR UPDATE SKIP LOCKED'",
    ),
];

#[tokio::test]
async fn every_planted_object_is_reported_and_no_other() {
    let mut connection = migrated().await;
    for (rule, place, plant) in PLANTS {
        let mut transaction = connection.begin().await.unwrap();
        transaction.execute(*plant).await.unwrap();
        let findings = catalog::lint(&mut transaction).await;
        assert!(!findings.is_empty(), "not seen: {plant}");
        for finding in findings {
            assert_eq!(
                (finding.rule, finding.place.as_str()),
                (*rule, *place),
                "{plant}: {finding}"
            );
        }
        transaction.rollback().await.unwrap();
    }
}

/// Rules that only a catalog can show.
pub fn planted() -> impl Iterator<Item = Rule> {
    PLANTS.iter().map(|(rule, ..)| *rule)
}

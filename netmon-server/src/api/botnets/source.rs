//! Who saw a node, as it is shown.

/// What follows `FROM … seen` to join who saw: `source`, and `agent` if it was one that is known. Beyond a
/// bound agents share a source whose name is no id.
macro_rules! join_source {
    () => {
        " JOIN botnet_sources source USING (source_id) \
         LEFT JOIN agents agent ON agent.agent_id = \
             CASE WHEN source.kind = 'agent' AND source.name ~ '^[0-9a-f]{16}$' \
                  THEN ('x' || source.name)::bit(64)::bigint END "
    };
}

/// The columns `source_kind`, `source` (of an agent its alias) and `agent` (its id).
macro_rules! source_columns {
    () => {
        "source.kind AS source_kind, coalesce(agent.alias, source.name) AS source, \
         CASE WHEN source.kind = 'agent' THEN source.name END AS agent"
    };
}

pub(super) use {join_source, source_columns};

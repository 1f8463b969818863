), came AS MATERIALIZED (
WITH rolled AS (
    SELECT $2::timestamptz AS slot, measured.* FROM measured
    UNION ALL
    SELECT $2, f.agent_id, f.interface, f.server, $2,

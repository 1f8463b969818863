-- And from what the agent counted together of others.
), rolled AS (
    SELECT $2::timestamptz AS slot, measured.* FROM measured
    UNION ALL
    SELECT $2, f.agent_id, f.interface, f.server, $2,

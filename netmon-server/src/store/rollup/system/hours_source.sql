-- One agent's hour, from its minutes. $1 agent, $2 and $3 the hour.
WITH source AS MATERIALIZED (
    SELECT $2::timestamptz AS slot, minutes.*
    FROM system_minutes minutes
    WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3
)

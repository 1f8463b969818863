-- Minutes of one agent's hour, from its readings. $1 agent, $2 and $3 the hour, $4 readings from here
-- on.
WITH readings AS (
    SELECT * FROM system_stats WHERE agent_id = $1 AND at >= $2 AND at < $3 AND at >= $4
),
source AS MATERIALIZED (
    SELECT date_bin('1 minute', bucket, timestamptz '2000-01-01 00:00Z') AS slot, figures.*
    FROM (

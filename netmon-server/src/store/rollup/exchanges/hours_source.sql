-- One agent's hour, from its exchanges. $1 agent, $2 and $3 the hour, $4 exchanges from here on.
WITH measured AS MATERIALIZED (
WITH exchanges AS (
    SELECT $2::timestamptz AS slot, e.* FROM ntp_exchanges e
    WHERE agent_id = $1 AND at >= $2 AND at < $3 AND at >= $4
),

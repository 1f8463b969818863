-- One agent's day, from its hours. $1 agent, $2 and $3 the day.
WITH rolled AS (
    SELECT $2::timestamptz AS slot, hours.*
    FROM ntp_hours hours
    WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3
),

    -- $1 agent, $2 and $3 frames that begin in this time; $3 is the bound.
    FROM (
        SELECT * FROM bandwidth_stats
        WHERE agent_id = $1 AND started_at >= $2 AND started_at < $3
    ) f
    CROSS JOIN (SELECT $3::timestamptz AS at) bound

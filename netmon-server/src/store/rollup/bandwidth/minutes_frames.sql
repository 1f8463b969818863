    -- $1 agent, $2 and $3 the hour, $4 frames from here on.
    (
        SELECT *, (extract(epoch FROM started_at) * 1000000)::bigint AS started_us
        FROM bandwidth_stats
        WHERE agent_id = $1 AND started_at >= $4 AND started_at < $3
        OFFSET 0 -- keeps started_us from being computed again for every sample
    ) f
    CROSS JOIN (
        SELECT 60000000::bigint AS step_us,
               (extract(epoch FROM $2::timestamptz) * 1000000)::bigint AS from_us,
               (extract(epoch FROM $3::timestamptz) * 1000000)::bigint AS to_us
    ) p

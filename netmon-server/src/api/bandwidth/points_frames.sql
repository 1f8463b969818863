    (
        SELECT *, (extract(epoch FROM started_at) * 1000000)::bigint AS started_us
        FROM bandwidth_stats
        WHERE agent_id = $1 AND interface = ANY ($2) AND started_at >= {from}::timestamptz - interval '1 hour' AND started_at < {to}
        OFFSET 0 -- keeps started_us from being computed again for every sample
    ) f
    CROSS JOIN (
        SELECT $3::bigint AS step_us,
               (extract(epoch FROM {from}::timestamptz) * 1000000)::bigint AS from_us,
               (extract(epoch FROM {to}::timestamptz) * 1000000)::bigint AS to_us
    ) p

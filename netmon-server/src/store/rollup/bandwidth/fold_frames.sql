    (
        SELECT *, (extract(epoch FROM started_at) * 1000000)::bigint AS started_us FROM late
    ) f
    CROSS JOIN (
        SELECT 60000000::bigint AS step_us,
               0::bigint AS from_us,
               (extract(epoch FROM $6::timestamptz) * 1000000)::bigint AS to_us
    ) p

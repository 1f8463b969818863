    -- What of a frame begins at the bound or later.
    CROSS JOIN LATERAL (
        SELECT min(i.ordinal)::int4 AS first, min(i.begin_us) AS after_us
        FROM (
            SELECT a.ordinal,
                   sum(a.interval_us) OVER (ORDER BY a.ordinal ROWS UNBOUNDED PRECEDING)
                       - a.interval_us AS begin_us
            FROM unnest(f.interval_us) WITH ORDINALITY AS a (interval_us, ordinal)
        ) i
        WHERE f.started_at + i.begin_us * interval '1 microsecond' >= bound.at
    ) tail
    WHERE tail.first IS NOT NULL

-- Per agent and slot: what each core did.
SELECT agent_id,
       slot,
       array_agg(core ORDER BY core) AS core,
       array_agg(core_ticks ORDER BY core) AS core_ticks,
       array_agg(core_busy ORDER BY core) AS core_busy
FROM (
    SELECT s.agent_id,
           s.slot,
           p.core,
           (CASE WHEN sum(p.core_ticks) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.core_ticks) END)::int8 AS core_ticks,
           (CASE WHEN sum(p.core_busy) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.core_busy) END)::int8 AS core_busy
    FROM source s
    CROSS JOIN LATERAL ROWS FROM (
        unnest(s.core),
        unnest(s.core_ticks),
        unnest(s.core_busy)
    ) AS p (core, core_ticks, core_busy)
    GROUP BY s.agent_id, s.slot, p.core
) AS parts
GROUP BY agent_id, slot

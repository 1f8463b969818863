-- What roll-ups (of the CTE rolled, with their slot) come to together, per server: CTEs heads and parts.
heads AS (
    SELECT slot, agent_id, interface, server,
           sum(exchanges)::int8 AS exchanges,
           min(response_time_min_ns) AS response_time_min_ns,
           max(response_time_max_ns) AS response_time_max_ns,
           min(offset_min_ns) AS offset_min_ns,
           max(offset_max_ns) AS offset_max_ns
    FROM rolled
    GROUP BY slot, agent_id, interface, server
), parts AS (
    SELECT r.slot, r.agent_id, r.interface, r.server, p.metric, p.value, sum(p.count)::int8 AS count
    FROM rolled r
    CROSS JOIN LATERAL unnest(r.metric, r.value, r.count) AS p (metric, value, count)
    GROUP BY r.slot, r.agent_id, r.interface, r.server, p.metric, p.value
)

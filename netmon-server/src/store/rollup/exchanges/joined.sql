-- The CTEs heads and parts as rows of a roll-up.
SELECT agent_id, interface, server, slot AS bucket,
       exchanges, response_time_min_ns, response_time_max_ns, offset_min_ns, offset_max_ns,
       metric, value, count
FROM heads
JOIN (
    SELECT slot, agent_id, interface, server,
           array_agg(metric ORDER BY metric, value) AS metric,
           array_agg(value ORDER BY metric, value) AS value,
           array_agg(count ORDER BY metric, value) AS count
    FROM parts
    GROUP BY slot, agent_id, interface, server
) AS lists USING (slot, agent_id, interface, server)

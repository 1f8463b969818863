ON CONFLICT (agent_id, interface, server, bucket) DO UPDATE SET
    exchanges = EXCLUDED.exchanges,
    response_time_min_ns = EXCLUDED.response_time_min_ns,
    response_time_max_ns = EXCLUDED.response_time_max_ns,
    offset_min_ns = EXCLUDED.offset_min_ns,
    offset_max_ns = EXCLUDED.offset_max_ns,
    metric = EXCLUDED.metric, value = EXCLUDED.value, count = EXCLUDED.count
RETURNING 1

    exchanges, response_time_min_ns, response_time_max_ns, offset_min_ns, offset_max_ns,
    metric, value, count

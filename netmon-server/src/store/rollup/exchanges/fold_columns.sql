    f.exchanges::int8, f.response_time_min_ns, f.response_time_max_ns, f.offset_min_ns, f.offset_max_ns,
    f.metric, f.value, f.count::int8[]

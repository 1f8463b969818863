-- Per agent and slot: what each block device did.
SELECT agent_id,
       slot,
       array_agg(device ORDER BY device) AS device,
       array_agg(device_reads ORDER BY device) AS device_reads,
       array_agg(device_writes ORDER BY device) AS device_writes,
       array_agg(device_read_bytes ORDER BY device) AS device_read_bytes,
       array_agg(device_written_bytes ORDER BY device) AS device_written_bytes,
       array_agg(device_busy_ms ORDER BY device) AS device_busy_ms
FROM (
    SELECT s.agent_id,
           s.slot,
           p.device,
           (CASE WHEN sum(p.device_reads) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.device_reads) END)::int8 AS device_reads,
           (CASE WHEN sum(p.device_writes) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.device_writes) END)::int8 AS device_writes,
           (CASE WHEN sum(p.device_read_bytes) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.device_read_bytes) END)::int8 AS device_read_bytes,
           (CASE WHEN sum(p.device_written_bytes) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.device_written_bytes) END)::int8 AS device_written_bytes,
           (CASE WHEN sum(p.device_busy_ms) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.device_busy_ms) END)::int8 AS device_busy_ms
    FROM source s
    CROSS JOIN LATERAL ROWS FROM (
        unnest(s.device),
        unnest(s.device_reads),
        unnest(s.device_writes),
        unnest(s.device_read_bytes),
        unnest(s.device_written_bytes),
        unnest(s.device_busy_ms)
    ) AS p (device, device_reads, device_writes, device_read_bytes, device_written_bytes, device_busy_ms)
    GROUP BY s.agent_id, s.slot, p.device
) AS parts
GROUP BY agent_id, slot

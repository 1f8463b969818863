-- Minutes and hours of one agent's host that are not made of its readings, computed anew and not by
-- the statement that rolls up. A reading belongs to the minute in which it was taken. $1: agent, $2
-- and $3: whole hours from here on up to there.
WITH pending AS (
    SELECT hour FROM late_hours WHERE agent_id = $1 AND series = 'system_stats'
), raw AS (
    SELECT date_trunc('minute', at, 'UTC') AS bucket, count(*)::numeric AS samples,
           ARRAY[sum(greatest(interval_us, 1)), sum(interval_us), sum(cpu_user), sum(cpu_system),
                 sum(cpu_idle), sum(context_switches), sum(swapped_in_bytes),
                 sum(tcp_segments_sent), max(memory_total), min(memory_available),
                 min(uptime_ms)]::numeric[] AS figures
    FROM system_stats WHERE agent_id = $1 AND at >= $2 AND at < $3
    GROUP BY 1
), raw_hours AS (
    SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*)::numeric AS samples,
           ARRAY[sum(greatest(interval_us, 1)), sum(interval_us), sum(cpu_user), sum(cpu_system),
                 sum(cpu_idle), sum(context_switches), sum(swapped_in_bytes),
                 sum(tcp_segments_sent), max(memory_total), min(memory_available),
                 min(uptime_ms)]::numeric[] AS figures
    FROM system_stats WHERE agent_id = $1 AND at >= $2 AND at < $3
    GROUP BY 1
), stored AS (
    SELECT 'minute' AS unit, bucket, samples,
           ARRAY[weight_us, interval_us, cpu_user, cpu_system, cpu_idle, context_switches,
                 swapped_in_bytes, tcp_segments_sent, memory_total, memory_available_min,
                 uptime_ms]::numeric[] AS figures
    FROM system_minutes WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3
    UNION ALL
    SELECT 'hour', bucket, samples,
           ARRAY[weight_us, interval_us, cpu_user, cpu_system, cpu_idle, context_switches,
                 swapped_in_bytes, tcp_segments_sent, memory_total, memory_available_min,
                 uptime_ms]::numeric[]
    FROM system_hours WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3
), summed AS (
    SELECT 'minute' AS unit, * FROM raw UNION ALL SELECT 'hour', * FROM raw_hours
), capped AS (
    -- Sums stand at the largest number; least() would take that for a null, too.
    SELECT unit, bucket, samples,
           (SELECT array_agg(CASE WHEN f > 9223372036854775807 THEN 9223372036854775807 ELSE f END
                             ORDER BY n)
            FROM unnest(figures) WITH ORDINALITY AS u (f, n)) AS figures
    FROM summed
)
SELECT unit, NULL::text AS interface, bucket, coalesce(c.samples, 0)::bigint AS samples,
       coalesce(s.samples, 0)::bigint AS stored_samples,
       NULL::bigint AS packets, NULL::bigint AS bytes, p.hour IS NOT NULL AS pending
FROM capped c FULL JOIN stored s USING (unit, bucket)
LEFT JOIN pending p ON p.hour = date_trunc('hour', bucket, 'UTC')
WHERE c.samples IS DISTINCT FROM s.samples OR c.figures IS DISTINCT FROM s.figures
ORDER BY bucket, unit

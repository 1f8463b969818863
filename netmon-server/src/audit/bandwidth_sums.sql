-- Minutes and hours of one agent that are not the sums of its samples, computed anew and not by the
-- statement that rolls up. A sample belongs to the minute in which it begins. $1: agent, $2 and $3:
-- whole hours from here on up to there, $4: frames before do not count: raw rows are whole from
-- there on.
WITH pending AS (
    SELECT hour FROM late_hours WHERE agent_id = $1 AND series = 'bandwidth_stats'
), samples AS (
    SELECT f.interface, f.started_at + u.before_us * interval '1 microsecond' AS begin_at,
           u.*
    FROM bandwidth_stats f
    CROSS JOIN LATERAL (
        SELECT sum(length_us) OVER (ORDER BY ordinal) - length_us AS before_us,
               coalesce(flags, 0) AS flags,
               ip, ib + (coalesce(ib_high, 0)::int8 << 31) AS ib,
               ep, eb + (coalesce(eb_high, 0)::int8 << 31) AS eb
        FROM unnest(f.interval_us, f.ingress_packets, f.ingress_bytes, f.ingress_bytes_high,
                    f.egress_packets, f.egress_bytes, f.egress_bytes_high, f.flags)
             WITH ORDINALITY AS s (length_us, ip, ib, ib_high, ep, eb, eb_high, flags, ordinal)
    ) AS u
    WHERE f.agent_id = $1 AND f.started_at >= greatest($4, $2 - interval '1 hour')
      AND f.started_at < $3
), raw AS (
    SELECT interface, date_trunc('minute', begin_at, 'UTC') AS bucket,
           count(*)::numeric AS samples, count(*) FILTER (WHERE flags <> 0)::numeric AS flagged,
           sum(ip)::numeric AS ip, sum(ib)::numeric AS ib,
           sum(ep)::numeric AS ep, sum(eb)::numeric AS eb
    FROM samples WHERE begin_at >= $2 AND begin_at < $3
    GROUP BY 1, 2
), stored AS (
    SELECT 'minute' AS unit, interface, bucket, samples, flagged, ingress_packets AS ip,
           ingress_bytes AS ib, egress_packets AS ep, egress_bytes AS eb
    FROM bandwidth_minutes
    WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3
    UNION ALL
    SELECT 'hour', interface, bucket, samples, flagged, ingress_packets,
           ingress_bytes, egress_packets, egress_bytes
    FROM bandwidth_hours
    WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3
), summed AS (
    SELECT 'minute' AS unit, * FROM raw
    UNION ALL
    SELECT 'hour', interface, date_trunc('hour', bucket, 'UTC'), sum(samples), sum(flagged),
           sum(ip), sum(ib), sum(ep), sum(eb)
    FROM raw GROUP BY 2, 3
), compared AS (
    SELECT unit, interface, bucket,
           coalesce(r.samples, 0) AS samples, coalesce(s.samples, 0)::numeric AS stored_samples,
           coalesce(r.flagged, 0) AS flagged, coalesce(s.flagged, 0)::numeric AS stored_flagged,
           -- Sums stand at the largest number.
           least(coalesce(r.ip + r.ep, 0), 9223372036854775807) AS packets,
           least(coalesce(s.ip::numeric + s.ep, 0), 9223372036854775807) AS stored_packets,
           least(coalesce(r.ib + r.eb, 0), 9223372036854775807) AS bytes,
           least(coalesce(s.ib::numeric + s.eb, 0), 9223372036854775807) AS stored_bytes,
           (least(r.ip, 9223372036854775807), least(r.ib, 9223372036854775807),
            least(r.ep, 9223372036854775807), least(r.eb, 9223372036854775807))
               IS DISTINCT FROM
           (s.ip::numeric, s.ib::numeric, s.ep::numeric, s.eb::numeric) AS differs
    FROM summed r FULL JOIN stored s USING (unit, interface, bucket)
)
SELECT unit, interface, bucket, samples::bigint AS samples, stored_samples::bigint AS stored_samples,
       (packets - stored_packets)::bigint AS packets, (bytes - stored_bytes)::bigint AS bytes,
       p.hour IS NOT NULL AS pending
FROM compared c LEFT JOIN pending p ON p.hour = date_trunc('hour', c.bucket, 'UTC')
WHERE differs OR samples <> stored_samples OR flagged <> stored_flagged
ORDER BY bucket, unit, interface

-- Hours of NTP of one agent that are not made of its exchanges and folds, and days that are not made of
-- their hours, computed anew and not by the statements that roll up: of each counted value how many
-- there are, and of those that are numbers their sum, besides the extremes. $1: agent, $2 and $3:
-- whole hours from here on up to there, and the days they are in.
WITH pending AS (
    SELECT hour FROM late_hours WHERE agent_id = $1 AND series = 'ntp_exchanges'
), seen AS (
    SELECT interface, server, date_trunc('hour', at, 'UTC') AS bucket,
           stratum, leap, version, reference_id, response_time_ns, server_processing_ns, offset_ns,
           coalesce(stratum = 0 AND mode = 4 AND reference_id <> 0, false) AS kiss,
           coalesce(match = ANY (ARRAY['basic', 'interleaved', 'weak']) AND stratum <> 0, false)
               AS in_time,
           CASE WHEN coalesce(flags, 0) = 0 THEN vantage IS NULL ELSE flags % 2 = 1 END AS good
    FROM ntp_exchanges WHERE agent_id = $1 AND at >= $2 AND at < $3
), whole AS (
    SELECT interface, server, bucket,
           min(response_time_ns) FILTER (WHERE in_time) AS response_time_min_ns,
           max(response_time_ns) FILTER (WHERE in_time) AS response_time_max_ns,
           min(offset_ns) FILTER (WHERE in_time AND good) AS offset_min_ns,
           max(offset_ns) FILTER (WHERE in_time AND good) AS offset_max_ns,
           ARRAY[count(*),
                 count(*), count(stratum), count(leap), count(version),
                 count(reference_id) FILTER (WHERE NOT kiss),
                 count(*) FILTER (WHERE kiss),
                 count(response_time_ns) FILTER (WHERE in_time),
                 count(server_processing_ns) FILTER (WHERE in_time AND good),
                 count(offset_ns) FILTER (WHERE in_time AND good),
                 coalesce(sum(stratum), 0), coalesce(sum(leap), 0), coalesce(sum(version), 0),
                 coalesce(sum(reference_id), 0)
           ]::numeric[] AS figures
    FROM seen GROUP BY 1, 2, 3
), counted AS (
    -- Rows that have counted values already.
    SELECT 'hour' AS unit, false AS stored, interface, server,
           date_trunc('hour', at, 'UTC') AS bucket, exchanges, response_time_min_ns,
           response_time_max_ns, offset_min_ns, offset_max_ns, metric, value, count::int8[] AS count
    FROM ntp_folds WHERE agent_id = $1 AND at >= $2 AND at < $3
    UNION ALL
    SELECT 'hour', true, interface, server, bucket, exchanges, response_time_min_ns,
           response_time_max_ns, offset_min_ns, offset_max_ns, metric, value, count
    FROM ntp_hours WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3
    UNION ALL
    SELECT 'day', false, interface, server, date_trunc('day', bucket, 'UTC'), exchanges,
           response_time_min_ns, response_time_max_ns, offset_min_ns, offset_max_ns, metric, value,
           count
    FROM ntp_hours
    WHERE agent_id = $1 AND bucket >= date_trunc('day', $2, 'UTC')
      AND bucket < date_trunc('day', $3 - interval '1 microsecond', 'UTC') + interval '24 hours'
    UNION ALL
    SELECT 'day', true, interface, server, bucket, exchanges, response_time_min_ns,
           response_time_max_ns, offset_min_ns, offset_max_ns, metric, value, count
    FROM ntp_days
    WHERE agent_id = $1 AND bucket >= date_trunc('day', $2, 'UTC') AND bucket < $3
), figures AS (
    SELECT unit, stored, interface, server, bucket, response_time_min_ns, response_time_max_ns,
           offset_min_ns, offset_max_ns,
           ARRAY[c.exchanges]::numeric[] || p.counts || p.sums AS figures
    FROM counted c
    CROSS JOIN LATERAL (
        SELECT ARRAY[coalesce(sum(n) FILTER (WHERE m = 1), 0),
                     coalesce(sum(n) FILTER (WHERE m = 2), 0),
                     coalesce(sum(n) FILTER (WHERE m = 3), 0),
                     coalesce(sum(n) FILTER (WHERE m = 4), 0),
                     coalesce(sum(n) FILTER (WHERE m = 5), 0),
                     coalesce(sum(n) FILTER (WHERE m = 6), 0),
                     coalesce(sum(n) FILTER (WHERE m = 7), 0),
                     coalesce(sum(n) FILTER (WHERE m = 8), 0),
                     coalesce(sum(n) FILTER (WHERE m = 9), 0)]::numeric[] AS counts,
               ARRAY[coalesce(sum(n * v::numeric) FILTER (WHERE m = 2), 0),
                     coalesce(sum(n * v::numeric) FILTER (WHERE m = 3), 0),
                     coalesce(sum(n * v::numeric) FILTER (WHERE m = 4), 0),
                     coalesce(sum(n * v::numeric) FILTER (WHERE m IN (5, 6)), 0)]::numeric[] AS sums
        FROM unnest(c.metric, c.value, c.count) AS u (m, v, n)
    ) AS p
    UNION ALL
    SELECT 'hour', false, interface, server, bucket, response_time_min_ns, response_time_max_ns,
           offset_min_ns, offset_max_ns, figures
    FROM whole
), added AS (
    SELECT unit, stored, interface, server, bucket,
           min(response_time_min_ns) AS response_time_min_ns,
           max(response_time_max_ns) AS response_time_max_ns,
           min(offset_min_ns) AS offset_min_ns, max(offset_max_ns) AS offset_max_ns,
           ARRAY[sum(figures[1]), sum(figures[2]), sum(figures[3]), sum(figures[4]),
                 sum(figures[5]), sum(figures[6]), sum(figures[7]), sum(figures[8]),
                 sum(figures[9]), sum(figures[10]), sum(figures[11]), sum(figures[12]),
                 sum(figures[13]), sum(figures[14])] AS figures
    FROM figures GROUP BY 1, 2, 3, 4, 5
), made AS (
    SELECT * FROM added WHERE NOT stored
), kept AS (
    SELECT * FROM added WHERE stored
)
SELECT unit, interface, host(server) AS server, bucket,
       coalesce(m.figures[1], 0)::bigint AS samples,
       coalesce(k.figures[1], 0)::bigint AS stored_samples,
       NULL::bigint AS packets, NULL::bigint AS bytes,
       unit = 'hour' AND p.hour IS NOT NULL AS pending
FROM made m FULL JOIN kept k USING (unit, interface, server, bucket)
LEFT JOIN pending p ON p.hour = bucket
WHERE (m.figures, m.response_time_min_ns, m.response_time_max_ns, m.offset_min_ns, m.offset_max_ns)
      IS DISTINCT FROM
      (k.figures, k.response_time_min_ns, k.response_time_max_ns, k.offset_min_ns, k.offset_max_ns)
ORDER BY bucket, unit, interface, server

-- What exchanges (of the CTE exchanges, with their slot) come to, per server: CTEs heads and parts.
--
-- metric 1: value is the number of the match in the protocol, 0: not known; 2: stratum, 3: leap, 4: version,
-- 5: reference id, 6: kiss code, of responses; 7: response time, 8: server processing, 9: absolute
-- offset, of exchanges that count in statistics. Values of 7 to 9 are buckets of a twentieth of a
-- decade: 0 begins at 10 us, 119 ends at 10 s, -1 is shorter, 120 longer.
judged AS (
    SELECT slot, agent_id, interface, server, match, stratum, leap, version, reference_id, kiss,
           CASE WHEN in_time THEN response_time_ns END AS response_time_ns,
           CASE WHEN in_time AND good THEN server_processing_ns END AS server_processing_ns,
           CASE WHEN in_time AND good THEN offset_ns END AS offset_ns
    FROM (
        SELECT *,
               match IN ('basic', 'interleaved', 'weak') AND stratum <> 0 AS in_time,
               -- Agents from before vantages and flags left out values that do not count.
               coalesce(flags, 0) & 1 = 1 OR coalesce(flags, 0) = 0 AND vantage IS NULL AS good,
               stratum = 0 AND mode = 4 AND reference_id <> 0 AS kiss
        FROM exchanges
    ) AS paired
), heads AS (
    SELECT slot, agent_id, interface, server,
           count(*) AS exchanges,
           min(response_time_ns) AS response_time_min_ns,
           max(response_time_ns) AS response_time_max_ns,
           min(offset_ns) AS offset_min_ns,
           max(offset_ns) AS offset_max_ns
    FROM judged
    GROUP BY slot, agent_id, interface, server
), parts AS (
    SELECT j.slot, j.agent_id, j.interface, j.server, p.metric::int2 AS metric, p.value, count(*) AS count
    FROM judged j
    CROSS JOIN LATERAL (VALUES
        (1::int2, coalesce(array_position(ARRAY[
            'basic', 'unanswered', 'late', 'superseded', 'duplicate_response', 'conflicting_response',
            'origin_mismatch', 'unsolicited_response', 'sensor_stopped', 'interleaved', 'weak',
            'duplicate_request', 'refused', 'symmetric', 'broadcast'], j.match), 0)::int8),
        (2, j.stratum::int8),
        (3, j.leap::int8),
        (4, j.version::int8),
        (5, CASE WHEN NOT j.kiss THEN j.reference_id END),
        (6, CASE WHEN j.kiss THEN j.reference_id END),
        (7, CASE WHEN j.response_time_ns IS NOT NULL THEN
            least(120, greatest(-1, floor(20 * log(greatest(abs(j.response_time_ns::float8), 1) / 10000))))::int8 END),
        (8, CASE WHEN j.server_processing_ns IS NOT NULL THEN
            least(120, greatest(-1, floor(20 * log(greatest(abs(j.server_processing_ns::float8), 1) / 10000))))::int8 END),
        (9, CASE WHEN j.offset_ns IS NOT NULL THEN
            least(120, greatest(-1, floor(20 * log(greatest(abs(j.offset_ns::float8), 1) / 10000))))::int8 END)
    ) AS p (metric, value)
    WHERE p.value IS NOT NULL
    GROUP BY j.slot, j.agent_id, j.interface, j.server, p.metric, p.value
)

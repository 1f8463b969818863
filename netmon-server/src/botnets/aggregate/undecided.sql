-- Nodes by place that were seen before the shortest window (from $3 on) and again after the end of all
-- ($2), and within the windows: their newest communication of an hour before the end decides. Each is
-- looked up by itself, the newest days first. (The sum keeps the planner from reading the table in the
-- order of the places, which is none of its pages.)
SELECT n.place_id + 0,
       count(*) FILTER (WHERE c.bucket >= $3),
       count(*) FILTER (WHERE c.bucket >= $4 AND n.first_seen < $4),
       count(*) FILTER (WHERE n.first_seen < $5)
FROM botnet_nodes n
CROSS JOIN LATERAL (
    SELECT of.bucket
    FROM botnet_communications of
    WHERE of.family_id = $1 AND of.ip = n.ip AND of.bucket >= $5 AND of.bucket < $2
    ORDER BY of.bucket DESC
    LIMIT 1
) c
WHERE n.family_id = $1 AND n.last_seen >= $2 AND n.first_seen < $3
GROUP BY n.place_id + 0

-- The same where there are so many that all communications of the windows are read once.
SELECT place_id,
       count(*) FILTER (WHERE bucket >= $3),
       count(*) FILTER (WHERE bucket >= $4 AND first_seen < $4),
       count(*) FILTER (WHERE first_seen < $5)
FROM (
    SELECT n.ip, n.place_id, n.first_seen, max(c.bucket) AS bucket
    FROM botnet_nodes n
    JOIN botnet_communications c ON c.family_id = n.family_id AND c.ip = n.ip
    WHERE n.family_id = $1 AND n.last_seen >= $2 AND n.first_seen < $3
      AND c.family_id = $1 AND c.bucket >= $5 AND c.bucket < $2
    GROUP BY n.ip, n.place_id, n.first_seen
) seen
GROUP BY place_id

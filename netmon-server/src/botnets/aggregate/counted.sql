-- Nodes of family $1 by place, and those that were surely seen within the windows that begin at $3, $4
-- and $5 and end at $2: whose last sighting lies within, or the first. The last column counts those of
-- whom this does not decide everything.
SELECT place_id,
       count(*),
       sum(communications)::int8,
       count(*) FILTER (WHERE last_seen < $2 AND last_seen >= $3
                           OR last_seen >= $2 AND first_seen < $2 AND first_seen >= $3),
       count(*) FILTER (WHERE last_seen < $2 AND last_seen >= $4
                           OR last_seen >= $2 AND first_seen < $2 AND first_seen >= $4),
       count(*) FILTER (WHERE last_seen < $2 AND last_seen >= $5
                           OR last_seen >= $2 AND first_seen < $2 AND first_seen >= $5),
       count(*) FILTER (WHERE last_seen >= $2 AND first_seen < $3)
FROM botnet_nodes
WHERE family_id = $1
GROUP BY place_id

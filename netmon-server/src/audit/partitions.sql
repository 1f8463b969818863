-- Partitioned tables whose partitions leave a part of today or tomorrow (UTC) without a place.
-- $1: the first moment of today.
SELECT t.relname::text AS name,
       coalesce(sum(least(b.upto, $1 + interval '48 hours') - greatest(b.from_at, $1))
                FILTER (WHERE b.upto > $1 AND b.from_at < $1 + interval '48 hours'),
                interval '0') AS covered
FROM pg_partitioned_table p
JOIN pg_class t ON t.oid = p.partrelid
JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = current_schema()
LEFT JOIN pg_inherits i ON i.inhparent = t.oid
LEFT JOIN pg_class c ON c.oid = i.inhrelid
LEFT JOIN LATERAL (
    SELECT m[1]::timestamptz AS from_at, m[2]::timestamptz AS upto
    FROM regexp_match(pg_get_expr(c.relpartbound, c.oid),
                      $r$^FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)$r$) AS m
) AS b ON true
GROUP BY t.relname
ORDER BY t.relname

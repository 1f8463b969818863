    RETURNING 1
)
SELECT (SELECT count(*) FROM readings), 0::bigint

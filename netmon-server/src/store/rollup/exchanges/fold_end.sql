)
SELECT (SELECT count(*) FROM late), 0::bigint

)
SELECT (SELECT count(*) FROM late) + (SELECT count(*) FROM late_folds), 0::bigint

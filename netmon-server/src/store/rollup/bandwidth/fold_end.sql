    RETURNING 1
)
SELECT (SELECT count(*) FROM late), (SELECT count(*) FROM carried)

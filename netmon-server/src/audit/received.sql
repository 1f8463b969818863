-- When the batches next to some of a stream came. $1: agent, $2: epoch, $3: kind, $4 and $5: the first
-- and the last of those that are not here.
SELECT (SELECT received_at FROM ingest_ledger
        WHERE agent_id = $1 AND epoch = $2 AND kind = $3 AND sequence < $4
        ORDER BY sequence DESC LIMIT 1) AS before,
       (SELECT received_at FROM ingest_ledger
        WHERE agent_id = $1 AND epoch = $2 AND kind = $3 AND sequence > $5
        ORDER BY sequence LIMIT 1) AS after

-- The ledger as runs of consecutive numbers with the same verdict. $1: agent.
SELECT epoch, kind, refused, min(sequence) AS first, max(sequence) AS last
FROM (
    SELECT epoch, kind, sequence, row_count IS NULL AS refused,
           sequence - row_number() OVER (
               PARTITION BY epoch, kind, row_count IS NULL ORDER BY sequence
           ) AS run
    FROM ingest_ledger WHERE agent_id = $1
) AS numbered
GROUP BY epoch, kind, refused, run

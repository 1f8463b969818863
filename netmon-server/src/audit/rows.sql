-- Batches whose rows are not as many as the ledger says, and rows of batches it does not know.
-- $1: agent, $2: only rows from here on, $3: from here on an earlier batch of the stream proves
-- that a batch lies in the window, $4: runs that began from here on (milliseconds since 1970) do.
WITH counted AS (
    SELECT 1 AS kind, epoch, sequence, count(*) AS rows,
           min(started_at) AS first_at, max(started_at) AS last_at
    FROM bandwidth_stats WHERE agent_id = $1 AND started_at >= $2 GROUP BY epoch, sequence
    UNION ALL
    SELECT 3, epoch, sequence, count(*), min(at), max(at)
    FROM ntp_exchanges WHERE agent_id = $1 AND at >= $2 GROUP BY epoch, sequence
), mixed AS (
    -- Runs of agents that number all their batches in one stream.
    SELECT epoch FROM ingest_ledger WHERE agent_id = $1 AND kind = 0
    UNION
    SELECT epoch FROM ingest_floors WHERE agent_id = $1 AND kind = 0
), data AS (
    SELECT CASE WHEN m.epoch IS NULL THEN c.kind ELSE 0 END AS kind, c.epoch, c.sequence,
           sum(c.rows)::bigint AS rows, min(c.first_at) AS first_at, max(c.last_at) AS last_at
    FROM counted c LEFT JOIN mixed m ON m.epoch = c.epoch
    GROUP BY 1, 2, 3
), begun AS (
    SELECT kind, epoch, min(sequence) AS sequence FROM data WHERE first_at >= $3 GROUP BY 1, 2
), ledger AS (
    SELECT kind::int4 AS kind, epoch, sequence, row_count, received_at
    FROM ingest_ledger WHERE agent_id = $1
)
SELECT kind::int2 AS kind, epoch, sequence, l.sequence IS NOT NULL AS known,
       l.row_count::bigint AS row_count, coalesce(d.rows, 0) AS rows,
       coalesce(d.first_at, l.received_at) AS first_at,
       coalesce(d.last_at, l.received_at) AS last_at
FROM ledger l
FULL JOIN data d USING (kind, epoch, sequence)
LEFT JOIN begun b USING (kind, epoch)
LEFT JOIN ingest_floors f ON f.agent_id = $1 AND f.kind = kind AND f.epoch = epoch
WHERE sequence > coalesce(f.through, 0)
  AND (l.sequence IS NULL
       OR coalesce(d.rows, 0) > coalesce(l.row_count, 0)
       OR (coalesce(d.rows, 0) < l.row_count
           AND (sequence >= b.sequence OR (epoch >> 10) >= $4)))
ORDER BY epoch, kind, sequence

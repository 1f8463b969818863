-- Batches whose rows are not as many as the ledger says, and rows of batches it does not know.
-- $1: agent, $2 and $3: only frames, and exchanges, from here on, $4: a batch with all of its rows
-- from here on proves that later batches of its stream lie in the window, $5: runs that began from
-- here on (milliseconds since 1970) do so too, $6 to $8: only readings of the host, NTP control
-- messages, and folds of exchanges, from here on.
WITH counted AS (
    SELECT 1 AS kind, epoch, sequence, count(*) AS rows,
           min(started_at) AS first_at, max(started_at) AS last_at
    FROM bandwidth_stats WHERE agent_id = $1 AND started_at >= $2 GROUP BY epoch, sequence
    UNION ALL
    SELECT 3, epoch, sequence, count(*), min(at), max(at)
    FROM ntp_exchanges WHERE agent_id = $1 AND at >= $3 GROUP BY epoch, sequence
    UNION ALL
    SELECT 3, epoch, sequence, count(*), min(at), max(at)
    FROM ntp_control WHERE agent_id = $1 AND at >= $7 GROUP BY epoch, sequence
    UNION ALL
    SELECT 3, epoch, sequence, count(*), min(at), max(at)
    FROM ntp_folds WHERE agent_id = $1 AND at >= $8 GROUP BY epoch, sequence
    UNION ALL
    SELECT 2, epoch, sequence, count(*), min(at), max(at)
    FROM system_stats WHERE agent_id = $1 AND at >= $6 GROUP BY epoch, sequence
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
    SELECT kind, epoch, min(sequence) AS sequence FROM data WHERE first_at >= $4 GROUP BY 1, 2
), ledger AS (
    SELECT kind::int4 AS kind, epoch, sequence, coalesce(row_count, 0)::bigint AS rows, received_at
    FROM ingest_ledger WHERE agent_id = $1
), compared AS (
    SELECT kind, epoch, sequence, l.rows AS promised, coalesce(d.rows, 0) AS rows,
           coalesce(d.first_at, l.received_at) AS first_at,
           coalesce(d.last_at, l.received_at) AS last_at
    FROM ledger l FULL JOIN data d USING (kind, epoch, sequence)
)
SELECT c.kind::int2 AS kind, c.epoch, c.sequence, c.promised, c.rows, c.first_at, c.last_at
FROM compared c
LEFT JOIN begun b ON b.kind = c.kind AND b.epoch = c.epoch
LEFT JOIN ingest_floors f ON f.agent_id = $1 AND f.kind = c.kind AND f.epoch = c.epoch
WHERE c.sequence > coalesce(f.through, 0)
  AND (c.promised IS NULL
       OR c.rows > c.promised
       OR (c.rows < c.promised AND (c.sequence >= b.sequence OR (c.epoch >> 10) >= $5)))
ORDER BY c.epoch, c.kind, c.sequence

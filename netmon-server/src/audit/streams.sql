-- Every stream of an agent. $1: agent.
SELECT k.epoch, k.kind,
       coalesce(f.through, 0) AS floor,
       coalesce(s.settled_through, 0) AS settled_through,
       coalesce(s.sealed_through, 0) AS sealed_through,
       k.epoch < a.epoch AND coalesce(s.reported_at < a.greeted_at, a.greeted_at IS NOT NULL) AS over
FROM (
    SELECT epoch, kind FROM ingest_floors WHERE agent_id = $1
    UNION SELECT epoch, kind FROM ingest_streams WHERE agent_id = $1
    UNION SELECT epoch, kind FROM ingest_ledger WHERE agent_id = $1
    UNION SELECT epoch, kind FROM ingest_omissions WHERE agent_id = $1
) AS k
JOIN agents a ON a.agent_id = $1
LEFT JOIN ingest_floors f ON f.agent_id = $1 AND f.epoch = k.epoch AND f.kind = k.kind
LEFT JOIN ingest_streams s ON s.agent_id = $1 AND s.epoch = k.epoch AND s.kind = k.kind
ORDER BY k.epoch, k.kind

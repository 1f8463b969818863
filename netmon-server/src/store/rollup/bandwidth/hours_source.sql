-- One agent's hour, from its minutes. $1 agent, $2 and $3 the hour.
FROM bandwidth_minutes
WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3
GROUP BY agent_id, interface

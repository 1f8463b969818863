-- Per agent and slot: the most TCP sockets in each state.
SELECT agent_id,
       slot,
       array_agg(sockets ORDER BY state) AS tcp_states
FROM (
    SELECT s.agent_id, s.slot, t.state, max(t.sockets) AS sockets
    FROM source s
    CROSS JOIN LATERAL unnest(s.tcp_states) WITH ORDINALITY AS t (sockets, state)
    GROUP BY s.agent_id, s.slot, t.state
) AS parts
GROUP BY agent_id, slot

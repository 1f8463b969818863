-- Per agent and slot: the errors of each interface that had any.
SELECT agent_id,
       slot,
       array_agg(interface ORDER BY interface) AS interface,
       array_agg(interface_rx_errors ORDER BY interface) AS interface_rx_errors,
       array_agg(interface_tx_errors ORDER BY interface) AS interface_tx_errors,
       array_agg(interface_rx_dropped ORDER BY interface) AS interface_rx_dropped,
       array_agg(interface_tx_dropped ORDER BY interface) AS interface_tx_dropped,
       array_agg(interface_overruns ORDER BY interface) AS interface_overruns,
       array_agg(interface_collisions ORDER BY interface) AS interface_collisions
FROM (
    SELECT s.agent_id,
           s.slot,
           p.interface,
           least(sum(p.interface_rx_errors), 9223372036854775807)::int8 AS interface_rx_errors,
           least(sum(p.interface_tx_errors), 9223372036854775807)::int8 AS interface_tx_errors,
           least(sum(p.interface_rx_dropped), 9223372036854775807)::int8 AS interface_rx_dropped,
           least(sum(p.interface_tx_dropped), 9223372036854775807)::int8 AS interface_tx_dropped,
           least(sum(p.interface_overruns), 9223372036854775807)::int8 AS interface_overruns,
           least(sum(p.interface_collisions), 9223372036854775807)::int8 AS interface_collisions
    FROM source s
    CROSS JOIN LATERAL ROWS FROM (
        unnest(s.interface),
        unnest(s.interface_rx_errors),
        unnest(s.interface_tx_errors),
        unnest(s.interface_rx_dropped),
        unnest(s.interface_tx_dropped),
        unnest(s.interface_overruns),
        unnest(s.interface_collisions)
    ) AS p (interface, interface_rx_errors, interface_tx_errors, interface_rx_dropped, interface_tx_dropped, interface_overruns, interface_collisions)
    GROUP BY s.agent_id, s.slot, p.interface
) AS parts
GROUP BY agent_id, slot

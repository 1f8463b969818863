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
           (CASE WHEN sum(p.interface_rx_errors) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.interface_rx_errors) END)::int8 AS interface_rx_errors,
           (CASE WHEN sum(p.interface_tx_errors) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.interface_tx_errors) END)::int8 AS interface_tx_errors,
           (CASE WHEN sum(p.interface_rx_dropped) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.interface_rx_dropped) END)::int8 AS interface_rx_dropped,
           (CASE WHEN sum(p.interface_tx_dropped) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.interface_tx_dropped) END)::int8 AS interface_tx_dropped,
           (CASE WHEN sum(p.interface_overruns) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.interface_overruns) END)::int8 AS interface_overruns,
           (CASE WHEN sum(p.interface_collisions) > 9223372036854775807 THEN 9223372036854775807
                 ELSE sum(p.interface_collisions) END)::int8 AS interface_collisions
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

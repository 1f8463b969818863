-- Per agent and slot: the highest temperature of each sensor.
SELECT agent_id,
       slot,
       array_agg(sensor ORDER BY sensor) AS sensor,
       array_agg(sensor_max ORDER BY sensor) AS sensor_max
FROM (
    SELECT s.agent_id,
           s.slot,
           p.sensor,
           max(p.sensor_max) AS sensor_max
    FROM source s
    CROSS JOIN LATERAL ROWS FROM (
        unnest(s.sensor),
        unnest(s.sensor_max)
    ) AS p (sensor, sensor_max)
    GROUP BY s.agent_id, s.slot, p.sensor
) AS parts
GROUP BY agent_id, slot

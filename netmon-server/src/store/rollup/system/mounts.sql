-- Per agent and slot: the least there was on each file system.
SELECT agent_id,
       slot,
       array_agg(mount_point ORDER BY mount_point) AS mount_point,
       array_agg(mount_device ORDER BY mount_point) AS mount_device,
       array_agg(mount_type ORDER BY mount_point) AS mount_type,
       array_agg(mount_total ORDER BY mount_point) AS mount_total,
       array_agg(mount_free ORDER BY mount_point) AS mount_free,
       array_agg(mount_available ORDER BY mount_point) AS mount_available,
       array_agg(mount_inodes ORDER BY mount_point) AS mount_inodes,
       array_agg(mount_inodes_free ORDER BY mount_point) AS mount_inodes_free
FROM (
    SELECT s.agent_id,
           s.slot,
           p.mount_point,
           max(p.mount_device) AS mount_device,
           max(p.mount_type) AS mount_type,
           max(p.mount_total) AS mount_total,
           min(p.mount_free) AS mount_free,
           min(p.mount_available) AS mount_available,
           max(p.mount_inodes) AS mount_inodes,
           min(p.mount_inodes_free) AS mount_inodes_free
    FROM source s
    CROSS JOIN LATERAL ROWS FROM (
        unnest(s.mount_point),
        unnest(s.mount_device),
        unnest(s.mount_type),
        unnest(s.mount_total),
        unnest(s.mount_free),
        unnest(s.mount_available),
        unnest(s.mount_inodes),
        unnest(s.mount_inodes_free)
    ) AS p (mount_point, mount_device, mount_type, mount_total, mount_free, mount_available, mount_inodes, mount_inodes_free)
    GROUP BY s.agent_id, s.slot, p.mount_point
) AS parts
GROUP BY agent_id, slot

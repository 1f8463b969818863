-- Places where a frame's totals less its deltas are not the totals of the frame before, or 0 at
-- the start of an attachment. $1: agent, $2: only frames that begin from here on, $3: an interface
-- first seen before may have older frames that are gone.
WITH frames AS (
    SELECT f.interface, f.ifindex, f.attachment, f.epoch, f.sequence, f.started_at,
           f.started_at + s.length_us * interval '1 microsecond' AS ended_at,
           s.went_back,
           f.ingress_total_packets AS total_ip, f.ingress_total_bytes AS total_ib,
           f.egress_total_packets AS total_ep, f.egress_total_bytes AS total_eb,
           f.ingress_total_packets - s.ip AS base_ip, f.ingress_total_bytes - s.ib AS base_ib,
           f.egress_total_packets - s.ep AS base_ep, f.egress_total_bytes - s.eb AS base_eb
    FROM bandwidth_stats f
    CROSS JOIN LATERAL (
        SELECT sum(u.length_us) AS length_us,
               sum(u.ip) AS ip,
               sum(u.ib) + (coalesce(sum(u.ib_high), 0) << 31) AS ib,
               sum(u.ep) AS ep,
               sum(u.eb) + (coalesce(sum(u.eb_high), 0) << 31) AS eb,
               coalesce(bit_or(u.flags), 0) & 1 = 1 AS went_back
        FROM unnest(f.interval_us, f.ingress_packets, f.ingress_bytes, f.ingress_bytes_high,
                    f.egress_packets, f.egress_bytes, f.egress_bytes_high, f.flags)
             AS u (length_us, ip, ib, ib_high, ep, eb, eb_high, flags)
    ) AS s
    WHERE f.agent_id = $1 AND f.started_at >= $2
), marked AS (
    -- Totals only grow, which orders the frames of one batch whatever its clock did, unless a
    -- counter went back in it.
    SELECT *, bool_or(went_back) OVER (
        PARTITION BY ifindex, attachment, epoch, sequence
    ) AS batch_went_back
    FROM frames
), chained AS (
    SELECT *,
           lag(epoch) OVER chain AS previous_epoch,
           lag(sequence) OVER chain AS previous_sequence,
           lag(ended_at) OVER chain AS previous_ended_at,
           lag(total_ip) OVER chain AS previous_ip, lag(total_ib) OVER chain AS previous_ib,
           lag(total_ep) OVER chain AS previous_ep, lag(total_eb) OVER chain AS previous_eb,
           lag(epoch) OVER history AS history_epoch,
           lag(sequence) OVER history AS history_sequence,
           lag(ended_at) OVER history AS history_ended_at
    FROM marked
    -- An attachment belongs to an index and keeps its totals when the interface is renamed. Those
    -- of agents that name none belong to one run at most.
    WINDOW chain AS (
        PARTITION BY ifindex, attachment,
                     CASE WHEN attachment = 0 THEN interface END,
                     CASE WHEN attachment = 0 THEN epoch END
        ORDER BY epoch, sequence, CASE WHEN batch_went_back THEN started_at END,
                 total_ip, total_ib, total_ep, total_eb, started_at
    ), history AS (PARTITION BY interface ORDER BY epoch, sequence, started_at)
)
SELECT c.interface, c.attachment, c.epoch, c.sequence, c.started_at, c.ended_at, c.went_back,
       coalesce(c.previous_epoch, c.history_epoch) AS before_epoch,
       coalesce(c.previous_sequence, c.history_sequence) AS before_sequence,
       coalesce(c.previous_ended_at, c.history_ended_at) AS before_ended_at,
       c.base_ip, c.base_ib, c.base_ep, c.base_eb,
       coalesce(c.previous_ip, 0) AS expected_ip, coalesce(c.previous_ib, 0) AS expected_ib,
       coalesce(c.previous_ep, 0) AS expected_ep, coalesce(c.previous_eb, 0) AS expected_eb
FROM chained c
LEFT JOIN interfaces i ON i.agent_id = $1 AND i.name = c.interface
WHERE CASE
    WHEN c.previous_epoch IS NOT NULL THEN
        (c.base_ip, c.base_ib, c.base_ep, c.base_eb)
            <> (c.previous_ip, c.previous_ib, c.previous_ep, c.previous_eb)
    WHEN c.attachment = 0 THEN false
    ELSE (c.base_ip, c.base_ib, c.base_ep, c.base_eb) <> (0, 0, 0, 0)
         AND (c.history_epoch IS NOT NULL OR i.first_seen >= $3)
END
ORDER BY c.epoch, c.sequence, c.interface, c.started_at

-- Points of bandwidth. In the place for sources stands a query for each part of the range, from the table
-- that answers for it: points_of_samples.sql or points_of_sums.sql, joined by UNION ALL.
--
-- $1 agent, $2 interfaces, $3 length of a point in microseconds. A sample belongs to the point in which
-- it begins; points begin at multiples of their length since 1970, and so do minutes and hours.
--
-- Sums count every sample. Rates and the average packet size leave flagged samples out ("good"); a
-- rate is taken over the time its own interface was measured, and only then summed over interfaces.
SELECT point,
       sum(samples)::bigint AS samples,
       sum(flagged)::bigint AS flagged,
       -- What an honest agent counts fits 63 bits; what a broken one sends must not fail the query.
       least(sum(ingress_bytes), 9223372036854775807)::bigint AS ingress_bytes,
       least(sum(ingress_packets), 9223372036854775807)::bigint AS ingress_packets,
       least(sum(ingress_wire_bytes), 9223372036854775807)::bigint AS ingress_wire_bytes,
       least(sum(ingress_wire_packets), 9223372036854775807)::bigint AS ingress_wire_packets,
       least(sum(egress_bytes), 9223372036854775807)::bigint AS egress_bytes,
       least(sum(egress_packets), 9223372036854775807)::bigint AS egress_packets,
       least(sum(egress_wire_bytes), 9223372036854775807)::bigint AS egress_wire_bytes,
       least(sum(egress_wire_packets), 9223372036854775807)::bigint AS egress_wire_packets,
       sum(good_ingress_bytes * 8e6 / measured_us)::float8 AS ingress_bits_per_second,
       sum(good_ingress_packets * 1e6 / measured_us)::float8 AS ingress_packets_per_second,
       sum(good_ingress_wire_bytes * 8e6 / measured_us)::float8 AS ingress_wire_bits_per_second,
       sum(good_ingress_wire_packets * 1e6 / measured_us)::float8 AS ingress_wire_packets_per_second,
       sum(good_egress_bytes * 8e6 / measured_us)::float8 AS egress_bits_per_second,
       sum(good_egress_packets * 1e6 / measured_us)::float8 AS egress_packets_per_second,
       sum(good_egress_wire_bytes * 8e6 / measured_us)::float8 AS egress_wire_bits_per_second,
       sum(good_egress_wire_packets * 1e6 / measured_us)::float8 AS egress_wire_packets_per_second,
       max(ingress_peak_bits_per_second) AS ingress_peak_bits_per_second,
       max(egress_peak_bits_per_second) AS egress_peak_bits_per_second,
       (sum(good_ingress_wire_bytes) / nullif(sum(good_ingress_wire_packets), 0))::float8
           AS ingress_average_packet_bytes,
       (sum(good_egress_wire_bytes) / nullif(sum(good_egress_wire_packets), 0))::float8
           AS egress_average_packet_bytes
FROM (
    SELECT interface,
           point,
           sum(samples) AS samples,
           sum(flagged) AS flagged,
           sum(ingress_bytes) AS ingress_bytes,
           sum(ingress_packets) AS ingress_packets,
           sum(ingress_wire_bytes) AS ingress_wire_bytes,
           sum(ingress_wire_packets) AS ingress_wire_packets,
           sum(egress_bytes) AS egress_bytes,
           sum(egress_packets) AS egress_packets,
           sum(egress_wire_bytes) AS egress_wire_bytes,
           sum(egress_wire_packets) AS egress_wire_packets,
           nullif(sum(measured_us), 0)::float8 AS measured_us,
           sum(good_ingress_bytes)::float8 AS good_ingress_bytes,
           sum(good_ingress_packets)::float8 AS good_ingress_packets,
           sum(good_ingress_wire_bytes)::float8 AS good_ingress_wire_bytes,
           sum(good_ingress_wire_packets)::float8 AS good_ingress_wire_packets,
           sum(good_egress_bytes)::float8 AS good_egress_bytes,
           sum(good_egress_packets)::float8 AS good_egress_packets,
           sum(good_egress_wire_bytes)::float8 AS good_egress_wire_bytes,
           sum(good_egress_wire_packets)::float8 AS good_egress_wire_packets,
           max(ingress_peak_bits_per_second) AS ingress_peak_bits_per_second,
           max(egress_peak_bits_per_second) AS egress_peak_bits_per_second
    FROM (
{sources}
    ) parts
    GROUP BY interface, point
    -- Rates are summed in one order whatever the plan, so that answers are the same to the last bit.
    ORDER BY point, interface
) of_interface
GROUP BY point
ORDER BY point

-- One agent's hour, from its minutes. $1 agent, $2 and $3 the hour.
INSERT INTO bandwidth_hours (
    agent_id, interface, bucket, samples, flagged, measured_us, ingress_bytes, ingress_packets,
    ingress_wire_bytes, ingress_wire_packets, egress_bytes, egress_packets, egress_wire_bytes,
    egress_wire_packets, good_ingress_bytes, good_ingress_packets, good_ingress_wire_bytes,
    good_ingress_wire_packets, good_egress_bytes, good_egress_packets, good_egress_wire_bytes,
    good_egress_wire_packets, ingress_peak_bits_per_second, egress_peak_bits_per_second
)
SELECT agent_id, interface, $2::timestamptz,
       least(sum(samples), 2147483647)::int4,
       least(sum(flagged), 2147483647)::int4,
       least(sum(measured_us), 9223372036854775807)::bigint,
       least(sum(ingress_bytes), 9223372036854775807)::bigint,
       least(sum(ingress_packets), 9223372036854775807)::bigint,
       least(sum(ingress_wire_bytes), 9223372036854775807)::bigint,
       least(sum(ingress_wire_packets), 9223372036854775807)::bigint,
       least(sum(egress_bytes), 9223372036854775807)::bigint,
       least(sum(egress_packets), 9223372036854775807)::bigint,
       least(sum(egress_wire_bytes), 9223372036854775807)::bigint,
       least(sum(egress_wire_packets), 9223372036854775807)::bigint,
       CASE WHEN sum(flagged) > 0 THEN least(sum(coalesce(good_ingress_bytes, ingress_bytes)), 9223372036854775807)::bigint END,
       CASE WHEN sum(flagged) > 0 THEN least(sum(coalesce(good_ingress_packets, ingress_packets)), 9223372036854775807)::bigint END,
       CASE WHEN sum(flagged) > 0 THEN least(sum(coalesce(good_ingress_wire_bytes, ingress_wire_bytes)), 9223372036854775807)::bigint END,
       CASE WHEN sum(flagged) > 0 THEN least(sum(coalesce(good_ingress_wire_packets, ingress_wire_packets)), 9223372036854775807)::bigint END,
       CASE WHEN sum(flagged) > 0 THEN least(sum(coalesce(good_egress_bytes, egress_bytes)), 9223372036854775807)::bigint END,
       CASE WHEN sum(flagged) > 0 THEN least(sum(coalesce(good_egress_packets, egress_packets)), 9223372036854775807)::bigint END,
       CASE WHEN sum(flagged) > 0 THEN least(sum(coalesce(good_egress_wire_bytes, egress_wire_bytes)), 9223372036854775807)::bigint END,
       CASE WHEN sum(flagged) > 0 THEN least(sum(coalesce(good_egress_wire_packets, egress_wire_packets)), 9223372036854775807)::bigint END,
       max(ingress_peak_bits_per_second),
       max(egress_peak_bits_per_second)
FROM bandwidth_minutes
WHERE agent_id = $1 AND bucket >= $2 AND bucket < $3
GROUP BY agent_id, interface

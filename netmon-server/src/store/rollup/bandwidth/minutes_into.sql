-- Minutes of one agent's hour, from its frames: the sums follow as a sub-select.
INSERT INTO bandwidth_minutes (
    agent_id, interface, bucket, samples, flagged, measured_us, ingress_bytes, ingress_packets,
    ingress_wire_bytes, ingress_wire_packets, egress_bytes, egress_packets, egress_wire_bytes,
    egress_wire_packets, good_ingress_bytes, good_ingress_packets, good_ingress_wire_bytes,
    good_ingress_wire_packets, good_egress_bytes, good_egress_packets, good_egress_wire_bytes,
    good_egress_wire_packets, ingress_peak_bits_per_second, egress_peak_bits_per_second
)
SELECT agent_id, interface, to_timestamp(point * 60),
       least(samples, 2147483647)::int4,
       least(flagged, 2147483647)::int4,
       least(measured_us, 9223372036854775807)::bigint,
       least(ingress_bytes, 9223372036854775807)::bigint,
       least(ingress_packets, 9223372036854775807)::bigint,
       least(ingress_wire_bytes, 9223372036854775807)::bigint,
       least(ingress_wire_packets, 9223372036854775807)::bigint,
       least(egress_bytes, 9223372036854775807)::bigint,
       least(egress_packets, 9223372036854775807)::bigint,
       least(egress_wire_bytes, 9223372036854775807)::bigint,
       least(egress_wire_packets, 9223372036854775807)::bigint,
       CASE WHEN flagged > 0 THEN least(good_ingress_bytes, 9223372036854775807)::bigint END,
       CASE WHEN flagged > 0 THEN least(good_ingress_packets, 9223372036854775807)::bigint END,
       CASE WHEN flagged > 0 THEN least(good_ingress_wire_bytes, 9223372036854775807)::bigint END,
       CASE WHEN flagged > 0 THEN least(good_ingress_wire_packets, 9223372036854775807)::bigint END,
       CASE WHEN flagged > 0 THEN least(good_egress_bytes, 9223372036854775807)::bigint END,
       CASE WHEN flagged > 0 THEN least(good_egress_packets, 9223372036854775807)::bigint END,
       CASE WHEN flagged > 0 THEN least(good_egress_wire_bytes, 9223372036854775807)::bigint END,
       CASE WHEN flagged > 0 THEN least(good_egress_wire_packets, 9223372036854775807)::bigint END,
       ingress_peak_bits_per_second,
       egress_peak_bits_per_second
FROM (

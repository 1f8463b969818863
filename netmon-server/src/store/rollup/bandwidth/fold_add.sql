-- Adds to the row that is there, `t`.
ON CONFLICT (agent_id, interface, bucket) DO UPDATE SET
    samples = least(t.samples::bigint + EXCLUDED.samples, 2147483647)::int4,
    flagged = least(t.flagged::bigint + EXCLUDED.flagged, 2147483647)::int4,
    measured_us = least(t.measured_us::numeric + EXCLUDED.measured_us, 9223372036854775807)::bigint,
    ingress_bytes = least(t.ingress_bytes::numeric + EXCLUDED.ingress_bytes, 9223372036854775807)::bigint,
    ingress_packets = least(t.ingress_packets::numeric + EXCLUDED.ingress_packets, 9223372036854775807)::bigint,
    ingress_wire_bytes = least(t.ingress_wire_bytes::numeric + EXCLUDED.ingress_wire_bytes, 9223372036854775807)::bigint,
    ingress_wire_packets = least(t.ingress_wire_packets::numeric + EXCLUDED.ingress_wire_packets, 9223372036854775807)::bigint,
    egress_bytes = least(t.egress_bytes::numeric + EXCLUDED.egress_bytes, 9223372036854775807)::bigint,
    egress_packets = least(t.egress_packets::numeric + EXCLUDED.egress_packets, 9223372036854775807)::bigint,
    egress_wire_bytes = least(t.egress_wire_bytes::numeric + EXCLUDED.egress_wire_bytes, 9223372036854775807)::bigint,
    egress_wire_packets = least(t.egress_wire_packets::numeric + EXCLUDED.egress_wire_packets, 9223372036854775807)::bigint,
    good_ingress_bytes = CASE WHEN t.flagged > 0 OR EXCLUDED.flagged > 0 THEN
        least(coalesce(t.good_ingress_bytes, t.ingress_bytes)::numeric
            + coalesce(EXCLUDED.good_ingress_bytes, EXCLUDED.ingress_bytes), 9223372036854775807)::bigint END,
    good_ingress_packets = CASE WHEN t.flagged > 0 OR EXCLUDED.flagged > 0 THEN
        least(coalesce(t.good_ingress_packets, t.ingress_packets)::numeric
            + coalesce(EXCLUDED.good_ingress_packets, EXCLUDED.ingress_packets), 9223372036854775807)::bigint END,
    good_ingress_wire_bytes = CASE WHEN t.flagged > 0 OR EXCLUDED.flagged > 0 THEN
        least(coalesce(t.good_ingress_wire_bytes, t.ingress_wire_bytes)::numeric
            + coalesce(EXCLUDED.good_ingress_wire_bytes, EXCLUDED.ingress_wire_bytes), 9223372036854775807)::bigint END,
    good_ingress_wire_packets = CASE WHEN t.flagged > 0 OR EXCLUDED.flagged > 0 THEN
        least(coalesce(t.good_ingress_wire_packets, t.ingress_wire_packets)::numeric
            + coalesce(EXCLUDED.good_ingress_wire_packets, EXCLUDED.ingress_wire_packets), 9223372036854775807)::bigint END,
    good_egress_bytes = CASE WHEN t.flagged > 0 OR EXCLUDED.flagged > 0 THEN
        least(coalesce(t.good_egress_bytes, t.egress_bytes)::numeric
            + coalesce(EXCLUDED.good_egress_bytes, EXCLUDED.egress_bytes), 9223372036854775807)::bigint END,
    good_egress_packets = CASE WHEN t.flagged > 0 OR EXCLUDED.flagged > 0 THEN
        least(coalesce(t.good_egress_packets, t.egress_packets)::numeric
            + coalesce(EXCLUDED.good_egress_packets, EXCLUDED.egress_packets), 9223372036854775807)::bigint END,
    good_egress_wire_bytes = CASE WHEN t.flagged > 0 OR EXCLUDED.flagged > 0 THEN
        least(coalesce(t.good_egress_wire_bytes, t.egress_wire_bytes)::numeric
            + coalesce(EXCLUDED.good_egress_wire_bytes, EXCLUDED.egress_wire_bytes), 9223372036854775807)::bigint END,
    good_egress_wire_packets = CASE WHEN t.flagged > 0 OR EXCLUDED.flagged > 0 THEN
        least(coalesce(t.good_egress_wire_packets, t.egress_wire_packets)::numeric
            + coalesce(EXCLUDED.good_egress_wire_packets, EXCLUDED.egress_wire_packets), 9223372036854775807)::bigint END,
    ingress_peak_bits_per_second = greatest(t.ingress_peak_bits_per_second, EXCLUDED.ingress_peak_bits_per_second),
    egress_peak_bits_per_second = greatest(t.egress_peak_bits_per_second, EXCLUDED.egress_peak_bits_per_second)

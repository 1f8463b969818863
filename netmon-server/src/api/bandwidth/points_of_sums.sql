        -- Minutes or hours, as {table} says, from {from} up to {to}. Summed here and not only with the other
        -- parts: a bigint is added by the processor, what sums of them become, numeric, digit by digit.
        SELECT interface,
               date_part('epoch', bucket)::bigint * 1000000 / $3 AS point,
               sum(samples) AS samples,
               sum(flagged) AS flagged,
               sum(measured_us) AS measured_us,
               sum(ingress_bytes) AS ingress_bytes,
               sum(ingress_packets) AS ingress_packets,
               sum(ingress_wire_bytes) AS ingress_wire_bytes,
               sum(ingress_wire_packets) AS ingress_wire_packets,
               sum(egress_bytes) AS egress_bytes,
               sum(egress_packets) AS egress_packets,
               sum(egress_wire_bytes) AS egress_wire_bytes,
               sum(egress_wire_packets) AS egress_wire_packets,
               sum(coalesce(good_ingress_bytes, ingress_bytes)) AS good_ingress_bytes,
               sum(coalesce(good_ingress_packets, ingress_packets)) AS good_ingress_packets,
               sum(coalesce(good_ingress_wire_bytes, ingress_wire_bytes)) AS good_ingress_wire_bytes,
               sum(coalesce(good_ingress_wire_packets, ingress_wire_packets)) AS good_ingress_wire_packets,
               sum(coalesce(good_egress_bytes, egress_bytes)) AS good_egress_bytes,
               sum(coalesce(good_egress_packets, egress_packets)) AS good_egress_packets,
               sum(coalesce(good_egress_wire_bytes, egress_wire_bytes)) AS good_egress_wire_bytes,
               sum(coalesce(good_egress_wire_packets, egress_wire_packets)) AS good_egress_wire_packets,
               max(ingress_peak_bits_per_second) AS ingress_peak_bits_per_second,
               max(egress_peak_bits_per_second) AS egress_peak_bits_per_second
        FROM {table}
        WHERE agent_id = $1 AND interface = ANY ($2) AND bucket >= {from} AND bucket < {to}
        GROUP BY 1, 2

    samples, flagged, measured_us, ingress_bytes, ingress_packets, ingress_wire_bytes,
    ingress_wire_packets, egress_bytes, egress_packets, egress_wire_bytes, egress_wire_packets,
    good_ingress_bytes, good_ingress_packets, good_ingress_wire_bytes, good_ingress_wire_packets,
    good_egress_bytes, good_egress_packets, good_egress_wire_bytes, good_egress_wire_packets,
    ingress_peak_bits_per_second, egress_peak_bits_per_second

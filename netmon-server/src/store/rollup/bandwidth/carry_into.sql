    INSERT INTO bandwidth_stats (
        agent_id, interface, started_at, epoch, sequence, ifindex, attachment, interval_us,
        ingress_packets, ingress_bytes, egress_packets, egress_bytes, ingress_bytes_high,
        egress_bytes_high, ingress_wire_packets, ingress_wire_bytes, egress_wire_packets,
        egress_wire_bytes, flags, ingress_total_packets, ingress_total_bytes,
        egress_total_packets, egress_total_bytes
    )
    SELECT f.agent_id, f.interface, f.started_at + tail.after_us * interval '1 microsecond', f.epoch,
           f.sequence, f.ifindex, f.attachment,
           f.interval_us[tail.first:], f.ingress_packets[tail.first:],
           f.ingress_bytes[tail.first:], f.egress_packets[tail.first:],
           f.egress_bytes[tail.first:], f.ingress_bytes_high[tail.first:],
           f.egress_bytes_high[tail.first:], f.ingress_wire_packets[tail.first:],
           f.ingress_wire_bytes[tail.first:], f.egress_wire_packets[tail.first:],
           f.egress_wire_bytes[tail.first:], f.flags[tail.first:],
           f.ingress_total_packets, f.ingress_total_bytes, f.egress_total_packets,
           f.egress_total_bytes

-- What frames hold, summed by agent, interface and point. Three pieces make the statement: this list,
-- the frames, and samples.sql.
--
-- The frames are `f`: rows of bandwidth_stats with started_us, their begin in microseconds since 1970;
-- beside them `p` says the length of a point (step_us), and the range of samples (from_us, to_us). A
-- sample belongs to the point in which it begins; points begin at multiples of their length since 1970.
SELECT f.agent_id,
       f.interface,
       s.point,
       sum(s.samples) AS samples,
       sum(s.flagged) AS flagged,
       coalesce(sum(s.measured_us), 0) AS measured_us,
       sum(s.ingress_bytes) AS ingress_bytes,
       sum(s.ingress_packets) AS ingress_packets,
       sum(s.ingress_wire_bytes) AS ingress_wire_bytes,
       sum(s.ingress_wire_packets) AS ingress_wire_packets,
       sum(s.egress_bytes) AS egress_bytes,
       sum(s.egress_packets) AS egress_packets,
       sum(s.egress_wire_bytes) AS egress_wire_bytes,
       sum(s.egress_wire_packets) AS egress_wire_packets,
       coalesce(sum(s.good_ingress_bytes), 0) AS good_ingress_bytes,
       coalesce(sum(s.good_ingress_packets), 0) AS good_ingress_packets,
       coalesce(sum(s.good_ingress_wire_bytes), 0) AS good_ingress_wire_bytes,
       coalesce(sum(s.good_ingress_wire_packets), 0) AS good_ingress_wire_packets,
       coalesce(sum(s.good_egress_bytes), 0) AS good_egress_bytes,
       coalesce(sum(s.good_egress_packets), 0) AS good_egress_packets,
       coalesce(sum(s.good_egress_wire_bytes), 0) AS good_egress_wire_bytes,
       coalesce(sum(s.good_egress_wire_packets), 0) AS good_egress_wire_packets,
       max(s.ingress_peak_bits_per_second) AS ingress_peak_bits_per_second,
       max(s.egress_peak_bits_per_second) AS egress_peak_bits_per_second
FROM

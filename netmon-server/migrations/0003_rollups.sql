-- Raw samples grow old: sums by minute and by hour outlive them.
--
-- Daily partitions for minutes (30 days by default), monthly ones for hours (400 days): planning a
-- query takes time for every partition there is, and with 400 of them more than the query itself.
--
-- Sums count every sample; the "good" ones leave out those with flags, and are null when no sample
-- has any: then they are equal. What an honest agent counts fits 63 bits; beyond, sums stand at the
-- largest number.
CREATE TABLE bandwidth_minutes (
    agent_id    bigint NOT NULL,
    interface   text NOT NULL,
    bucket      timestamptz NOT NULL,   -- the minute's begin: samples that begin in it
    samples     int4 NOT NULL,
    flagged     int4 NOT NULL,          -- of them, implausible
    measured_us bigint NOT NULL,        -- time of the good samples
    ingress_bytes        bigint NOT NULL,
    ingress_packets      bigint NOT NULL,
    ingress_wire_bytes   bigint NOT NULL,
    ingress_wire_packets bigint NOT NULL,
    egress_bytes         bigint NOT NULL,
    egress_packets       bigint NOT NULL,
    egress_wire_bytes    bigint NOT NULL,
    egress_wire_packets  bigint NOT NULL,
    good_ingress_bytes        bigint,
    good_ingress_packets      bigint,
    good_ingress_wire_bytes   bigint,
    good_ingress_wire_packets bigint,
    good_egress_bytes         bigint,
    good_egress_packets       bigint,
    good_egress_wire_bytes    bigint,
    good_egress_wire_packets  bigint,
    ingress_peak_bits_per_second float8,   -- of the best single good sample
    egress_peak_bits_per_second float8,
    PRIMARY KEY (agent_id, interface, bucket)
) PARTITION BY RANGE (bucket);

CREATE TABLE bandwidth_hours (
    agent_id    bigint NOT NULL,
    interface   text NOT NULL,
    bucket      timestamptz NOT NULL,   -- the hour's begin: samples that begin in it
    samples     int4 NOT NULL,
    flagged     int4 NOT NULL,          -- of them, implausible
    measured_us bigint NOT NULL,        -- time of the good samples
    ingress_bytes        bigint NOT NULL,
    ingress_packets      bigint NOT NULL,
    ingress_wire_bytes   bigint NOT NULL,
    ingress_wire_packets bigint NOT NULL,
    egress_bytes         bigint NOT NULL,
    egress_packets       bigint NOT NULL,
    egress_wire_bytes    bigint NOT NULL,
    egress_wire_packets  bigint NOT NULL,
    good_ingress_bytes        bigint,
    good_ingress_packets      bigint,
    good_ingress_wire_bytes   bigint,
    good_ingress_wire_packets bigint,
    good_egress_bytes         bigint,
    good_egress_packets       bigint,
    good_egress_wire_bytes    bigint,
    good_egress_wire_packets  bigint,
    ingress_peak_bits_per_second float8,   -- of the best single good sample
    egress_peak_bits_per_second float8,
    PRIMARY KEY (agent_id, interface, bucket)
) PARTITION BY RANGE (bucket);

-- How far each raw table is rolled up: one row per table, minutes and hours together, since both are
-- written in one transaction.
CREATE TABLE rollup_progress (
    series         text PRIMARY KEY,
    rolled_through timestamptz NOT NULL,    -- every hour that ends by then is done
    agents_through bigint                   -- of the next hour: agents up to this one; null: none yet
);

-- Hours that got rows after they may have been rolled up: to be done again. Written with the rows.
CREATE TABLE late_hours (
    agent_id  bigint NOT NULL,
    series    text NOT NULL,
    hour      timestamptz NOT NULL,
    since     timestamptz NOT NULL,         -- when the first of these rows came,
    marked_at timestamptz NOT NULL,         -- and the last: more follow as a rule
    PRIMARY KEY (agent_id, series, hour)
);

-- From when on a partitioned table is whole: what was before has been dropped. Written in the
-- transaction that drops. A row of a raw table from before came late, and its hour cannot be rolled
-- up again: it is added to the sums and deleted.
CREATE TABLE retained (
    table_name text PRIMARY KEY,
    since      timestamptz NOT NULL
);

-- Which server does a job, until when. A row instead of an advisory lock, which holds on one node of
-- a distributed database only.
CREATE TABLE job_leases (
    job        text PRIMARY KEY,
    holder     bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

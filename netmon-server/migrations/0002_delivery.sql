-- What proves that nothing is lost and nothing doubled.
--
-- A stream is one kind of batch of one epoch (a run of an agent); its batches are numbered 1, 2, 3, …
-- Kinds: 0 unspecified, 1 bandwidth, 2 system, 3 exchanges, 4 flows.

-- Which batches have a verdict: written in the transaction of their rows, or of their refusal, so
-- that a batch sent again is recognised. Deleted once it is old and its stream's floor is above it.
ALTER TABLE ingest_ledger ADD COLUMN kind int2 NOT NULL DEFAULT 0;
ALTER TABLE ingest_ledger ALTER COLUMN kind DROP DEFAULT;
ALTER TABLE ingest_ledger DROP CONSTRAINT ingest_ledger_pkey;
ALTER TABLE ingest_ledger ADD PRIMARY KEY (agent_id, epoch, kind, sequence);
DROP INDEX ingest_ledger_received;

ALTER TABLE ingest_refusals ADD COLUMN kind int2 NOT NULL DEFAULT 0;
ALTER TABLE ingest_refusals ALTER COLUMN kind DROP DEFAULT;
ALTER TABLE ingest_refusals DROP CONSTRAINT ingest_refusals_pkey;
ALTER TABLE ingest_refusals ADD PRIMARY KEY (agent_id, epoch, kind, sequence);

-- Every batch of a stream up to this one has its verdict, or an omission: the ledger rows below may
-- be gone. A writer inserts its ledger row first and looks here in a later statement: either it
-- meets the row, or the row was deleted after the floor had risen, and it meets the floor.
CREATE TABLE ingest_floors (
    agent_id bigint NOT NULL,
    epoch    bigint NOT NULL,
    kind     int2 NOT NULL,
    through  bigint NOT NULL,
    raised_at timestamptz NOT NULL,
    PRIMARY KEY (agent_id, epoch, kind)
);

-- What the agents say of their streams; both numbers only grow.
CREATE TABLE ingest_streams (
    agent_id        bigint NOT NULL,
    epoch           bigint NOT NULL,
    kind            int2 NOT NULL,
    settled_through bigint NOT NULL,    -- the agent holds none of these any more
    sealed_through  bigint NOT NULL,    -- the highest number given out
    reported_at     timestamptz NOT NULL,
    PRIMARY KEY (agent_id, epoch, kind)
) WITH (fillfactor = 70);

-- When the agent last introduced itself, by the clock that stamps ingest_streams.reported_at: a stream
-- of an older run that was not reported since is one the agent holds nothing of.
ALTER TABLE agents ADD COLUMN greeted_at timestamptz;

-- Batches that will never come, as the agent says: those of the range without a ledger row.
CREATE TABLE ingest_omissions (
    agent_id       bigint NOT NULL,
    epoch          bigint NOT NULL,
    kind           int2 NOT NULL,
    first_sequence bigint NOT NULL,
    last_sequence  bigint NOT NULL,
    cause          text NOT NULL,
    batches        bigint NOT NULL,
    records        bigint NOT NULL,
    reported_at    timestamptz NOT NULL,
    PRIMARY KEY (agent_id, epoch, kind, first_sequence)
);

-- Times in which an agent measured nothing.
CREATE TABLE sensor_gaps (
    agent_id bigint NOT NULL,
    epoch    bigint NOT NULL,           -- the run that noticed it
    from_at  timestamptz NOT NULL,
    to_at    timestamptz NOT NULL,
    cause    text NOT NULL,             -- stopped, crashed, state_lost
    PRIMARY KEY (agent_id, epoch, from_at)
);

-- What a job found last, for whoever asks.
CREATE TABLE job_results (
    job         text PRIMARY KEY,
    finished_at timestamptz NOT NULL,
    result      jsonb NOT NULL
);

-- Octets of a sample rarely need more than 31 bits. The high column holds what is above them and
-- is null for most rows: a row is a third smaller.
DROP VIEW bandwidth_samples;
ALTER TABLE bandwidth_stats RENAME TO bandwidth_stats_wide;
ALTER INDEX bandwidth_stats_pkey RENAME TO bandwidth_stats_wide_pkey;

CREATE TABLE bandwidth_stats (
    agent_id             bigint NOT NULL,
    interface            text NOT NULL,
    started_at           timestamptz NOT NULL,
    epoch                bigint NOT NULL,
    sequence             bigint NOT NULL,
    ifindex              int4 NOT NULL,
    attachment           int4 NOT NULL,     -- whose totals: a new one starts at 0
    interval_us          int4[] NOT NULL,   -- length of each sample, monotonic clock
    ingress_packets      int4[] NOT NULL,
    ingress_bytes        int4[] NOT NULL,   -- the lower 31 bits
    egress_packets       int4[] NOT NULL,
    egress_bytes         int4[] NOT NULL,
    ingress_bytes_high   int4[],            -- the bits above; null: all 0
    egress_bytes_high    int4[],
    ingress_wire_packets int4[],            -- null: equal to packets and bytes
    ingress_wire_bytes   int8[],
    egress_wire_packets  int4[],
    egress_wire_bytes    int8[],
    flags                int2[],            -- null: no sample is flagged
    -- Running totals of the attachment, after the last sample.
    ingress_total_packets bigint NOT NULL,
    ingress_total_bytes   bigint NOT NULL,
    egress_total_packets  bigint NOT NULL,
    egress_total_bytes    bigint NOT NULL,
    PRIMARY KEY (agent_id, interface, started_at, epoch, sequence)
) PARTITION BY RANGE (started_at);

-- The rows there are: daily partitions, made as the old ones were.
DO $$
DECLARE
    old text;
    day date;
BEGIN
    FOR old IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'bandwidth_stats_wide'::regclass
    LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', old, 'old_' || old);
        EXECUTE format('ALTER INDEX %I RENAME TO %I', old || '_pkey', 'old_' || old || '_pkey');
        day := to_date(right(old, 8), 'YYYYMMDD');
        EXECUTE format('CREATE TABLE %I (LIKE bandwidth_stats INCLUDING ALL)', old);
        EXECUTE format(
            'ALTER TABLE bandwidth_stats ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            old, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00');
    END LOOP;
END
$$;

INSERT INTO bandwidth_stats
SELECT agent_id, interface, started_at, epoch, sequence, ifindex::int4, 0, interval_us,
       ingress_packets,
       ARRAY(SELECT (b & 2147483647)::int4 FROM unnest(ingress_bytes) WITH ORDINALITY AS u (b, n) ORDER BY n),
       egress_packets,
       ARRAY(SELECT (b & 2147483647)::int4 FROM unnest(egress_bytes) WITH ORDINALITY AS u (b, n) ORDER BY n),
       CASE WHEN 2147483647 < ANY (ingress_bytes) THEN
           ARRAY(SELECT (b >> 31)::int4 FROM unnest(ingress_bytes) WITH ORDINALITY AS u (b, n) ORDER BY n) END,
       CASE WHEN 2147483647 < ANY (egress_bytes) THEN
           ARRAY(SELECT (b >> 31)::int4 FROM unnest(egress_bytes) WITH ORDINALITY AS u (b, n) ORDER BY n) END,
       ingress_wire_packets, ingress_wire_bytes, egress_wire_packets, egress_wire_bytes, flags,
       ingress_total_packets, ingress_total_bytes, egress_total_packets, egress_total_bytes
FROM bandwidth_stats_wide;

DROP TABLE bandwidth_stats_wide;

-- One row per sample. ended_at is when it was taken; a sample with flags other than 0 counts in
-- sums and is left out of rates (1 counter went back, 2 above link speed, 4 clock step).
CREATE VIEW bandwidth_samples AS
SELECT agent_id, interface, ended_at, interval_us,
       ingress_packets, ingress_bytes,
       coalesce(ingress_wire_packets, ingress_packets) AS ingress_wire_packets,
       coalesce(ingress_wire_bytes, ingress_bytes)     AS ingress_wire_bytes,
       egress_packets, egress_bytes,
       coalesce(egress_wire_packets, egress_packets)   AS egress_wire_packets,
       coalesce(egress_wire_bytes, egress_bytes)       AS egress_wire_bytes,
       flags
FROM (
    SELECT f.agent_id,
           f.interface,
           f.started_at + make_interval(secs => (sum(s.interval_us) OVER sample)::float8 / 1e6) AS ended_at,
           s.interval_us,
           s.ingress_packets,
           s.ingress_bytes + (coalesce(s.ingress_bytes_high, 0)::int8 << 31) AS ingress_bytes,
           s.ingress_wire_packets,
           s.ingress_wire_bytes,
           s.egress_packets,
           s.egress_bytes + (coalesce(s.egress_bytes_high, 0)::int8 << 31) AS egress_bytes,
           s.egress_wire_packets,
           s.egress_wire_bytes,
           coalesce(s.flags, 0::int2) AS flags
    FROM bandwidth_stats f
    CROSS JOIN LATERAL ROWS FROM (
        unnest(f.interval_us), unnest(f.ingress_packets), unnest(f.ingress_bytes),
        unnest(f.egress_packets), unnest(f.egress_bytes),
        unnest(f.ingress_bytes_high), unnest(f.egress_bytes_high),
        unnest(f.ingress_wire_packets), unnest(f.ingress_wire_bytes),
        unnest(f.egress_wire_packets), unnest(f.egress_wire_bytes), unnest(f.flags)
    ) WITH ORDINALITY AS s (
        interval_us, ingress_packets, ingress_bytes, egress_packets, egress_bytes,
        ingress_bytes_high, egress_bytes_high,
        ingress_wire_packets, ingress_wire_bytes, egress_wire_packets, egress_wire_bytes, flags, ordinal
    )
    WINDOW sample AS (
        PARTITION BY f.agent_id, f.interface, f.started_at, f.epoch, f.sequence
        ORDER BY s.ordinal
    )
) AS samples;

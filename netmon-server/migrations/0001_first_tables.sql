-- The tables of the whole path: who sends (agents, interfaces), what they measured (bandwidth_stats,
-- ntp_exchanges, ntp_clients), and which batches are in (ingest_ledger, ingest_refusals).
--
-- Every key starts with agent_id and nothing here needs a trigger or a sequence, so that the same
-- migration is valid on a distributed PostgreSQL (Citus), sharded by agent_id.

-- One row per enrolled agent that has ever connected. agent_id is the number in its certificate.
CREATE TABLE agents (
    agent_id       bigint PRIMARY KEY,
    alias          text NOT NULL,
    hostname       text NOT NULL,
    agent_version  text NOT NULL,
    kernel_release text NOT NULL,
    epoch          bigint NOT NULL,
    first_seen     timestamptz NOT NULL,
    last_seen      timestamptz NOT NULL
);

-- Interfaces by name: a name keeps its history when the index changes.
CREATE TABLE interfaces (
    agent_id       bigint NOT NULL REFERENCES agents,
    name           text NOT NULL,
    ifindex        bigint NOT NULL,
    mac            bytea,
    mtu            bigint NOT NULL,     -- 0: not described yet
    link_speed_bps bigint,              -- null: the link does not say
    monitored      boolean NOT NULL,
    described_at   timestamptz,         -- when the agent said the above; null: only measured
    first_seen     timestamptz NOT NULL,
    last_seen      timestamptz NOT NULL,
    PRIMARY KEY (agent_id, name)
);

-- Packed time series: one row per interface and frame (10 s by default), one array element per
-- sample. Read single samples through the view bandwidth_samples.
CREATE TABLE bandwidth_stats (
    agent_id             bigint NOT NULL,
    interface            text NOT NULL,
    started_at           timestamptz NOT NULL,
    epoch                bigint NOT NULL,
    sequence             bigint NOT NULL,
    ifindex              bigint NOT NULL,
    interval_us          int4[] NOT NULL,   -- length of each sample, monotonic clock
    ingress_packets      int4[] NOT NULL,
    ingress_bytes        int8[] NOT NULL,
    egress_packets       int4[] NOT NULL,
    egress_bytes         int8[] NOT NULL,
    ingress_wire_packets int4[],            -- null: equal to packets and bytes
    ingress_wire_bytes   int8[],
    egress_wire_packets  int4[],
    egress_wire_bytes    int8[],
    flags                int2[],            -- null: no sample is flagged
    -- Running totals since the sensor attached to the interface, after the last sample.
    ingress_total_packets bigint NOT NULL,
    ingress_total_bytes   bigint NOT NULL,
    egress_total_packets  bigint NOT NULL,
    egress_total_bytes    bigint NOT NULL,
    PRIMARY KEY (agent_id, interface, started_at, epoch, sequence)
) PARTITION BY RANGE (started_at);

-- One row per sample. ended_at is when it was taken; a sample with flags other than 0 counts in
-- sums and is left out of rates (1 counter went back, 2 above link speed, 4 clock step).
CREATE VIEW bandwidth_samples AS
SELECT f.agent_id,
       f.interface,
       f.started_at + make_interval(secs => (sum(s.interval_us) OVER sample)::float8 / 1e6) AS ended_at,
       s.interval_us,
       s.ingress_packets,
       s.ingress_bytes,
       coalesce(s.ingress_wire_packets, s.ingress_packets) AS ingress_wire_packets,
       coalesce(s.ingress_wire_bytes, s.ingress_bytes)     AS ingress_wire_bytes,
       s.egress_packets,
       s.egress_bytes,
       coalesce(s.egress_wire_packets, s.egress_packets)   AS egress_wire_packets,
       coalesce(s.egress_wire_bytes, s.egress_bytes)       AS egress_wire_bytes,
       coalesce(s.flags, 0::int2)                          AS flags
FROM bandwidth_stats f
CROSS JOIN LATERAL ROWS FROM (
    unnest(f.interval_us), unnest(f.ingress_packets), unnest(f.ingress_bytes),
    unnest(f.egress_packets), unnest(f.egress_bytes),
    unnest(f.ingress_wire_packets), unnest(f.ingress_wire_bytes),
    unnest(f.egress_wire_packets), unnest(f.egress_wire_bytes), unnest(f.flags)
) WITH ORDINALITY AS s (
    interval_us, ingress_packets, ingress_bytes, egress_packets, egress_bytes,
    ingress_wire_packets, ingress_wire_bytes, egress_wire_packets, egress_wire_bytes, flags, ordinal
)
WINDOW sample AS (
    PARTITION BY f.agent_id, f.interface, f.started_at, f.epoch, f.sequence
    ORDER BY s.ordinal
);

-- One row per NTP exchange. Timestamps of the protocol are raw 64-bit NTP timestamps as bit
-- patterns; at is when the sensor first saw a packet of the exchange.
CREATE TABLE ntp_exchanges (
    agent_id             bigint NOT NULL,
    at                   timestamptz NOT NULL,
    epoch                bigint NOT NULL,
    sequence             bigint NOT NULL,
    ordinal              int4 NOT NULL,     -- place within its batch
    interface            text NOT NULL,
    vlan                 int4 NOT NULL,     -- outer IEEE 802.1Q identifier; 0: none
    inner_vlan           int4 NOT NULL,
    match                text NOT NULL,
    client               inet NOT NULL,
    client_port          int4 NOT NULL,
    server               inet NOT NULL,
    server_port          int4 NOT NULL,
    requested_at_ns      bigint,            -- since 1970, the sensor's wall clock
    answered_at_ns       bigint,
    request_version      int2,
    version              int2,
    mode                 int2,
    leap                 int2,
    stratum              int2,
    poll                 int2,
    "precision"          int2,
    root_delay           bigint,            -- raw 16.16
    root_dispersion      bigint,            -- raw 16.16
    reference_id         bigint,
    reference_timestamp  bigint,
    origin_timestamp     bigint,
    receive_timestamp    bigint,
    transmit_timestamp   bigint,
    request_transmit_timestamp bigint,
    request_length       int4,
    response_length      int4,
    request_ttl          int2,
    response_ttl         int2,
    response_time_ns     bigint,
    server_processing_ns bigint,
    network_delay_ns     bigint,
    offset_ns            bigint,
    client_to_server_ns  bigint,
    null_reason          text,              -- why a derived value is null
    clock_synchronised   boolean,           -- whether the sensor's clock was
    PRIMARY KEY (agent_id, at, epoch, sequence, ordinal)
) PARTITION BY RANGE (at);

CREATE INDEX ntp_exchanges_client ON ntp_exchanges (agent_id, client, at);

-- One row per client and server, updated in place. No index on columns that change, so that
-- updates stay heap-only (HOT).
CREATE TABLE ntp_clients (
    agent_id             bigint NOT NULL,
    interface            text NOT NULL,
    client               inet NOT NULL,
    server               inet NOT NULL,
    client_port          int4 NOT NULL,     -- of the newest exchange
    server_port          int4 NOT NULL,
    request_version      int2,
    version              int2,              -- from here to offset_ns: of the newest response
    leap                 int2,
    stratum              int2,
    poll                 int2,
    "precision"          int2,
    root_delay           bigint,
    root_dispersion      bigint,
    reference_id         bigint,
    reference_timestamp  bigint,
    origin_timestamp     bigint,
    receive_timestamp    bigint,
    transmit_timestamp   bigint,
    packet_length        int4,
    response_time_ns     bigint,
    offset_ns            bigint,
    first_seen           timestamptz NOT NULL,
    last_seen            timestamptz NOT NULL,
    last_answered        timestamptz,       -- null: never
    session_count        bigint NOT NULL,   -- exchanges that begin with a request
    answered_count       bigint NOT NULL,
    PRIMARY KEY (agent_id, interface, client, server)
) WITH (fillfactor = 70);

-- Which batches have a verdict: written in the transaction of their rows, or of their refusal, so
-- that a batch sent again is recognised. Rows older than any batch that could still be accepted
-- are deleted.
CREATE TABLE ingest_ledger (
    agent_id    bigint NOT NULL,
    epoch       bigint NOT NULL,
    sequence    bigint NOT NULL,
    row_count   int4,                   -- null: refused, see ingest_refusals
    received_at timestamptz NOT NULL,
    PRIMARY KEY (agent_id, epoch, sequence)
);

-- Rows come in the order of received_at: a block range index is as good as any, and tiny.
CREATE INDEX ingest_ledger_received ON ingest_ledger USING brin (received_at);

-- Batches that can never be stored, kept with the reason.
CREATE TABLE ingest_refusals (
    agent_id    bigint NOT NULL,
    epoch       bigint NOT NULL,
    sequence    bigint NOT NULL,
    cause       text NOT NULL,
    reason      text NOT NULL,
    message     bytea NOT NULL,         -- as it came; empty after an agent's first hundred
    received_at timestamptz NOT NULL,
    PRIMARY KEY (agent_id, epoch, sequence)
);

-- NTP in full: what became of each exchange, servers beside clients, control messages, and roll-ups
-- that outlive the exchanges.

ALTER TABLE ntp_exchanges
    ADD COLUMN vantage              text,      -- client, server or transit: where the sensor is
    ADD COLUMN offset_error_ns      bigint,    -- half the network delay
    ADD COLUMN client_offset_ns     bigint,    -- RFC 5905's theta and delta, where the sensor is on the client
    ADD COLUMN client_delay_ns      bigint,
    ADD COLUMN kiss_code            text,
    ADD COLUMN answered_from        inet,      -- if not by server and server_port
    ADD COLUMN answered_from_port   int4,
    ADD COLUMN nts                  boolean,
    ADD COLUMN request_extensions   int4[],    -- types of the extension fields; null: none
    ADD COLUMN response_extensions  int4[],
    ADD COLUMN flags                int4,      -- bits of NtpFlag in netmon.proto; 1: counts in statistics
    ADD COLUMN root_distance_ns     bigint,
    ADD COLUMN client_clock_ns      bigint,
    ADD COLUMN server_to_sensor_ns  bigint,
    ADD COLUMN refusal_type         int2,      -- ICMP
    ADD COLUMN refusal_code         int2,
    ADD COLUMN refused_by           inet,
    ADD COLUMN view_requested_at_ns bigint,    -- an earlier exchange of the two, and what the client
    ADD COLUMN view_offset_ns       bigint,    -- measured in it: this request discloses it
    ADD COLUMN view_delay_ns        bigint,
    ADD COLUMN request_mac_length   int4,      -- octets; 0: no MAC, 4: a crypto-NAK; null: not known
    ADD COLUMN response_mac_length  int4,
    ADD COLUMN request_key_id       bigint,
    ADD COLUMN response_key_id      bigint,
    ADD COLUMN crypto_nak           boolean;

-- Clients are searched by address, by server and by what they were told. No index is on a column that
-- changes with every exchange, so that updates stay heap-only (HOT): how far a clock is off stands in
-- classes that change rarely.
ALTER TABLE ntp_clients
    ADD COLUMN vantage              text,      -- from here to jitter_ns: of the newest exchange
    ADD COLUMN reach                int2,      -- bits, the newest request first; set = answered in time
    ADD COLUMN interval_ns          bigint,    -- observed between requests, smoothed
    ADD COLUMN samples              int2,      -- of the last eight good ones; what follows is over them
    ADD COLUMN filtered_offset_ns   bigint,    -- with the least delay
    ADD COLUMN filtered_delay_ns    bigint,
    ADD COLUMN median_offset_ns     bigint,
    ADD COLUMN p95_deviation_ns     bigint,
    ADD COLUMN jitter_ns            bigint,
    ADD COLUMN server_processing_ns bigint,    -- from here to nts: of the newest response
    ADD COLUMN network_delay_ns     bigint,
    ADD COLUMN client_to_server_ns  bigint,
    ADD COLUMN offset_error_ns      bigint,
    ADD COLUMN root_distance_ns     bigint,
    ADD COLUMN nts                  boolean,
    ADD COLUMN last_kiss            text,      -- the newest kiss code, and when it came
    ADD COLUMN last_kissed          timestamptz,
    ADD COLUMN kiss_count           bigint NOT NULL DEFAULT 0,
    ADD COLUMN offset_class int2 GENERATED ALWAYS AS (
        CASE WHEN offset_ns BETWEEN -999999 AND 999999 THEN 0
             WHEN offset_ns BETWEEN -9999999 AND 9999999 THEN 1
             WHEN offset_ns BETWEEN -99999999 AND 99999999 THEN 2
             WHEN offset_ns BETWEEN -999999999 AND 999999999 THEN 3
             WHEN offset_ns IS NOT NULL THEN 4 END) STORED;  -- 0: below 1 ms, 1: 10 ms, … 4: 1 s and more

CREATE INDEX ntp_clients_client ON ntp_clients (client);
-- In the order of lists: a server's clients are often all of one agent, far from the begin.
CREATE INDEX ntp_clients_server ON ntp_clients (server, agent_id, interface, client);
CREATE INDEX ntp_clients_stratum ON ntp_clients (stratum);
CREATE INDEX ntp_clients_version ON ntp_clients (version);
CREATE INDEX ntp_clients_leap ON ntp_clients (leap);
CREATE INDEX ntp_clients_offset ON ntp_clients (offset_class) WHERE offset_class > 0;

-- One row per server that was asked, updated in place.
CREATE TABLE ntp_servers (
    agent_id             bigint NOT NULL,
    interface            text NOT NULL,
    server               inet NOT NULL,
    server_port          int4 NOT NULL,     -- of the newest exchange
    version              int2,              -- from here to nts: of the newest response
    leap                 int2,
    stratum              int2,
    poll                 int2,
    "precision"          int2,
    root_delay           bigint,
    root_dispersion      bigint,
    reference_id         bigint,
    reference_timestamp  bigint,
    response_time_ns     bigint,
    server_processing_ns bigint,
    offset_ns            bigint,
    root_distance_ns     bigint,
    nts                  boolean,
    last_kiss            text,              -- the newest kiss code, and when it came
    last_kissed          timestamptz,
    first_seen           timestamptz NOT NULL,
    last_seen            timestamptz NOT NULL,
    last_answered        timestamptz,       -- null: never
    request_count        bigint NOT NULL,   -- exchanges that begin with a request
    answered_count       bigint NOT NULL,
    kiss_count           bigint NOT NULL,   -- of these, kisses-o'-death
    PRIMARY KEY (agent_id, interface, server)
) WITH (fillfactor = 70);

CREATE INDEX ntp_servers_server ON ntp_servers (server);

-- Questions of modes 6 and 7 with their whole answers, and answers that nobody asked for.
CREATE TABLE ntp_control (
    agent_id         bigint NOT NULL,
    at               timestamptz NOT NULL,  -- when the sensor first saw a packet of it
    epoch            bigint NOT NULL,
    sequence         bigint NOT NULL,
    ordinal          int4 NOT NULL,         -- place within its batch
    interface        text NOT NULL,
    vlan             int4 NOT NULL,         -- outer IEEE 802.1Q identifier; 0: none
    inner_vlan       int4 NOT NULL,
    client           inet NOT NULL,
    client_port      int4 NOT NULL,
    server           inet NOT NULL,
    server_port      int4 NOT NULL,
    mode             int2 NOT NULL,
    version          int2 NOT NULL,
    opcode           int2 NOT NULL,         -- mode 7: the request code
    message_sequence int4 NOT NULL,         -- mode 6: ties answer and question together
    subject          int4 NOT NULL,         -- mode 6: association; mode 7: implementation
    requested_at_ns  bigint,                -- since 1970, the sensor's wall clock
    answered_at_ns   bigint,
    ended_at_ns      bigint,                -- last packet of the answer
    request_packets  bigint NOT NULL,
    request_octets   bigint NOT NULL,       -- UDP payload
    response_packets bigint NOT NULL,
    response_octets  bigint NOT NULL,
    error            int4,
    status           int4 NOT NULL,         -- mode 6: the status word
    items            bigint NOT NULL,       -- mode 7
    complete         boolean NOT NULL,
    authenticated    boolean NOT NULL,
    response_time_ns bigint,
    vantage          text,
    PRIMARY KEY (agent_id, at, epoch, sequence, ordinal)
) PARTITION BY RANGE (at);

-- Exchanges rolled up by server: by hour, and by day from the hours. Monthly partitions.
--
-- Counted values: metric[n] says what value[n] is, which count[n] exchanges had.
-- 1: the match (its number in netmon.proto; 0: not known), 2: stratum, 3: leap, 4: version,
-- 5: reference id, 6: kiss code (as a reference id), of responses; 7: response time, 8: server processing, 9: absolute offset, of exchanges
-- that count in statistics. Values of 7 to 9 are buckets of a twentieth of a decade: 0 begins at 10 us,
-- 119 ends at 10 s, -1 is shorter, 120 longer.
CREATE TABLE ntp_hours (
    agent_id             bigint NOT NULL,
    interface            text NOT NULL,
    server               inet NOT NULL,
    bucket               timestamptz NOT NULL,  -- its beginning
    exchanges            bigint NOT NULL,       -- whatever their match
    response_time_min_ns bigint,
    response_time_max_ns bigint,
    offset_min_ns        bigint,
    offset_max_ns        bigint,
    metric               int2[] NOT NULL,
    value                bigint[] NOT NULL,
    count                bigint[] NOT NULL,
    PRIMARY KEY (agent_id, interface, server, bucket)
) PARTITION BY RANGE (bucket);

CREATE TABLE ntp_days (LIKE ntp_hours INCLUDING ALL) PARTITION BY RANGE (bucket);

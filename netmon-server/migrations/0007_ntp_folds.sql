-- NTP exchanges of one client and one server that the agent counted together, within a window: what
-- it sends instead of each exchange where there are many.
--
-- metric, value and count are as in ntp_hours (migrations/0005_ntp.sql). All exchanges of a row began
-- within one hour.
CREATE TABLE ntp_folds (
    agent_id                 bigint NOT NULL,
    at                       timestamptz NOT NULL,  -- when the sensor saw the first packet of the first one
    epoch                    bigint NOT NULL,
    sequence                 bigint NOT NULL,
    ordinal                  int4 NOT NULL,         -- place within its batch
    last_at                  timestamptz NOT NULL,  -- the first packet of the last one
    interface                text NOT NULL,
    vlan                     int4 NOT NULL,         -- outer IEEE 802.1Q identifier; 0: none
    inner_vlan               int4 NOT NULL,
    client                   inet NOT NULL,
    server                   inet NOT NULL,
    vantage                  text,                  -- of the newest one
    exchanges                int4 NOT NULL,
    answered                 int4 NOT NULL,         -- with a response
    response_time_min_ns     bigint,
    response_time_max_ns     bigint,
    response_time_sum_ns     bigint NOT NULL,
    server_processing_sum_ns bigint NOT NULL,
    offset_min_ns            bigint,
    offset_max_ns            bigint,
    absolute_offset_sum_ns   bigint NOT NULL,
    metric                   int2[] NOT NULL,
    value                    bigint[] NOT NULL,
    count                    int4[] NOT NULL,
    clock_synchronised       boolean,               -- the sensor's, when the batch was sealed
    PRIMARY KEY (agent_id, at, epoch, sequence, ordinal)
) PARTITION BY RANGE (at);

-- What hosts are busy with. docs/system.md says what each figure is and where the kernel shows it.
--
-- A null is a figure that the kernel did not show, or a difference of a run's first reading.

-- One row per reading (every 10 s by default). Differences are over interval_us and belong to the
-- time at which they were read.
CREATE TABLE system_stats (
    agent_id                   bigint NOT NULL,
    at                         timestamptz NOT NULL,  -- when the host was read: the end of the interval
    epoch                      bigint NOT NULL,
    sequence                   bigint NOT NULL,
    interval_us                int8 NOT NULL,         -- since the reading before, monotonic clock; 0: the first of a run
    cpu_user                   int4,                  -- all cores, in ticks of 10 ms; user has the guests' time
    cpu_nice                   int4,
    cpu_system                 int4,
    cpu_idle                   int4,
    cpu_iowait                 int4,
    cpu_irq                    int4,
    cpu_softirq                int4,
    cpu_steal                  int4,
    core                       int2[],                -- the kernel's numbers of the cores; from here on per core
    core_user                  int4[],                -- null: 0 for every core
    core_nice                  int4[],
    core_system                int4[],
    core_idle                  int4[],
    core_iowait                int4[],
    core_irq                   int4[],
    core_softirq               int4[],
    core_steal                 int4[],
    runnable                   int4,                  -- tasks that run or could
    blocked                    int4,                  -- tasks that wait for I/O
    context_switches           int8,
    interrupts                 int8,
    forks                      int8,
    load_1                     int4,                  -- hundredths; the kernel's average over a minute
    load_5                     int4,
    load_15                    int4,
    tasks                      int4,                  -- threads
    memory_total               int8,                  -- octets
    memory_free                int8,
    memory_available           int8,                  -- null before Linux 3.14
    memory_buffers             int8,
    memory_cached              int8,
    memory_shared              int8,
    memory_slab                int8,
    swap_total                 int8,
    swap_free                  int8,
    swapped_in_bytes           int8,
    swapped_out_bytes          int8,
    mount_point                text[],                -- file systems; from here on per file system
    mount_device               text[],
    mount_type                 text[],
    mount_total                int8[],                -- octets
    mount_free                 int8[],
    mount_available            int8[],                -- what an unprivileged user can take
    mount_inodes               int8[],                -- 0: no table of inodes
    mount_inodes_free          int8[],
    device                     text[],                -- block devices; from here on per device
    device_reads               int4[],
    device_writes              int4[],
    device_read_bytes          int8[],
    device_written_bytes       int8[],
    device_busy_ms             int4[],                -- time with a request under way
    interface                  text[],                -- interfaces with errors; empty: none had any; null: not known
    interface_rx_errors        int4[],
    interface_tx_errors        int4[],
    interface_rx_dropped       int4[],
    interface_tx_dropped       int4[],
    interface_overruns         int4[],                -- of both directions
    interface_collisions       int4[],
    tcp_states                 int4[],                -- sockets: ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1,
    tcp_segments_sent          int8,                  -- FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING
    tcp_segments_retransmitted int8,
    tcp_resets_sent            int8,
    tcp_connections_reset      int8,                  -- from ESTABLISHED or CLOSE_WAIT to CLOSE at once
    sockets_used               int4,                  -- of every family
    uptime_ms                  int8,
    sensor                     text[],                -- temperatures
    sensor_millidegrees        int4[],                -- Celsius
    excess                     int4 NOT NULL,         -- parts beyond the limits of a sample, left out
    PRIMARY KEY (agent_id, at, epoch, sequence)
) PARTITION BY RANGE (at);

-- Rolled up by minute: differences are summed, states are averages weighted by the time each
-- reading stands for, with the extremes beside them. Daily partitions.
CREATE TABLE system_minutes (
    agent_id                   bigint NOT NULL,
    bucket                     timestamptz NOT NULL,  -- its beginning
    samples                    int4 NOT NULL,         -- readings
    weight_us                  int8 NOT NULL,         -- sum of the samples' weights: their interval, at least 1
    interval_us                int8 NOT NULL,         -- time the differences were taken over
    cpu_user                   int8,                  -- ticks of 10 ms; all cores together
    cpu_nice                   int8,
    cpu_system                 int8,
    cpu_idle                   int8,
    cpu_iowait                 int8,
    cpu_irq                    int8,
    cpu_softirq                int8,
    cpu_steal                  int8,
    cpu_busy_max               float8,                -- share neither idle nor waiting for I/O, 0 to 1
    load_1                     float8,                -- hundredths
    load_5                     float8,
    load_15                    float8,
    load_1_max                 int4,
    runnable                   float8,
    runnable_max               int4,
    blocked                    float8,
    blocked_max                int4,
    tasks                      float8,
    tasks_max                  int4,
    context_switches           int8,
    interrupts                 int8,
    forks                      int8,
    memory_total               int8,                  -- octets
    memory_free                float8,
    memory_available           float8,
    memory_buffers             float8,
    memory_cached              float8,
    memory_shared              float8,
    memory_slab                float8,
    memory_available_min       int8,
    swap_total                 int8,
    swap_free                  float8,
    swap_free_min              int8,
    swapped_in_bytes           int8,
    swapped_out_bytes          int8,
    sockets_used               float8,
    sockets_used_max           int4,
    tcp_segments_sent          int8,
    tcp_segments_retransmitted int8,
    tcp_resets_sent            int8,
    tcp_connections_reset      int8,
    uptime_ms                  int8,                  -- the smallest: low after a reboot
    excess                     int4 NOT NULL,         -- parts left out of a sample
    tcp_states                 int4[],                -- most sockets per state, in the order of system_stats
    core                       int2[],                -- numbers of the cores
    core_ticks                 int8[],                -- per core: all ticks, and those neither idle nor iowait
    core_busy                  int8[],
    mount_point                text[],                -- file systems
    mount_device               text[],
    mount_type                 text[],
    mount_total                int8[],                -- the largest
    mount_free                 int8[],                -- the smallest
    mount_available            int8[],                -- the smallest
    mount_inodes               int8[],                -- the largest
    mount_inodes_free          int8[],                -- the smallest
    device                     text[],                -- block devices; sums
    device_reads               int8[],
    device_writes              int8[],
    device_read_bytes          int8[],
    device_written_bytes       int8[],
    device_busy_ms             int8[],
    interface                  text[],                -- interfaces with errors; sums
    interface_rx_errors        int8[],
    interface_tx_errors        int8[],
    interface_rx_dropped       int8[],
    interface_tx_dropped       int8[],
    interface_overruns         int8[],
    interface_collisions       int8[],
    sensor                     text[],                -- sensors, and the highest of each in thousandths of a degree Celsius
    sensor_max                 int4[],
    PRIMARY KEY (agent_id, bucket)
) PARTITION BY RANGE (bucket);

-- The same by hour, from the minutes. Monthly partitions.
CREATE TABLE system_hours (LIKE system_minutes INCLUDING ALL) PARTITION BY RANGE (bucket);

ON CONFLICT (agent_id, bucket) DO UPDATE SET
    samples = EXCLUDED.samples, weight_us = EXCLUDED.weight_us, interval_us = EXCLUDED.interval_us,
    cpu_user = EXCLUDED.cpu_user, cpu_nice = EXCLUDED.cpu_nice, cpu_system = EXCLUDED.cpu_system,
    cpu_idle = EXCLUDED.cpu_idle, cpu_iowait = EXCLUDED.cpu_iowait, cpu_irq = EXCLUDED.cpu_irq,
    cpu_softirq = EXCLUDED.cpu_softirq, cpu_steal = EXCLUDED.cpu_steal, cpu_busy_max =
    EXCLUDED.cpu_busy_max, load_1 = EXCLUDED.load_1, load_5 = EXCLUDED.load_5, load_15 =
    EXCLUDED.load_15, load_1_max = EXCLUDED.load_1_max, runnable = EXCLUDED.runnable, runnable_max =
    EXCLUDED.runnable_max, blocked = EXCLUDED.blocked, blocked_max = EXCLUDED.blocked_max, tasks =
    EXCLUDED.tasks, tasks_max = EXCLUDED.tasks_max, context_switches = EXCLUDED.context_switches,
    interrupts = EXCLUDED.interrupts, forks = EXCLUDED.forks, memory_total = EXCLUDED.memory_total,
    memory_free = EXCLUDED.memory_free, memory_available = EXCLUDED.memory_available, memory_buffers
    = EXCLUDED.memory_buffers, memory_cached = EXCLUDED.memory_cached, memory_shared =
    EXCLUDED.memory_shared, memory_slab = EXCLUDED.memory_slab, memory_available_min =
    EXCLUDED.memory_available_min, swap_total = EXCLUDED.swap_total, swap_free = EXCLUDED.swap_free,
    swap_free_min = EXCLUDED.swap_free_min, swapped_in_bytes = EXCLUDED.swapped_in_bytes,
    swapped_out_bytes = EXCLUDED.swapped_out_bytes, sockets_used = EXCLUDED.sockets_used,
    sockets_used_max = EXCLUDED.sockets_used_max, tcp_segments_sent = EXCLUDED.tcp_segments_sent,
    tcp_segments_retransmitted = EXCLUDED.tcp_segments_retransmitted, tcp_resets_sent =
    EXCLUDED.tcp_resets_sent, tcp_connections_reset = EXCLUDED.tcp_connections_reset, uptime_ms =
    EXCLUDED.uptime_ms, excess = EXCLUDED.excess, tcp_states = EXCLUDED.tcp_states, core =
    EXCLUDED.core, core_ticks = EXCLUDED.core_ticks, core_busy = EXCLUDED.core_busy, mount_point =
    EXCLUDED.mount_point, mount_device = EXCLUDED.mount_device, mount_type = EXCLUDED.mount_type,
    mount_total = EXCLUDED.mount_total, mount_free = EXCLUDED.mount_free, mount_available =
    EXCLUDED.mount_available, mount_inodes = EXCLUDED.mount_inodes, mount_inodes_free =
    EXCLUDED.mount_inodes_free, device = EXCLUDED.device, device_reads = EXCLUDED.device_reads,
    device_writes = EXCLUDED.device_writes, device_read_bytes = EXCLUDED.device_read_bytes,
    device_written_bytes = EXCLUDED.device_written_bytes, device_busy_ms = EXCLUDED.device_busy_ms,
    interface = EXCLUDED.interface, interface_rx_errors = EXCLUDED.interface_rx_errors,
    interface_tx_errors = EXCLUDED.interface_tx_errors, interface_rx_dropped =
    EXCLUDED.interface_rx_dropped, interface_tx_dropped = EXCLUDED.interface_tx_dropped,
    interface_overruns = EXCLUDED.interface_overruns, interface_collisions =
    EXCLUDED.interface_collisions, sensor = EXCLUDED.sensor, sensor_max = EXCLUDED.sensor_max

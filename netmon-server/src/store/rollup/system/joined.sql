SELECT agent_id, slot,
       samples, weight_us, interval_us, cpu_user, cpu_nice, cpu_system, cpu_idle, cpu_iowait,
       cpu_irq, cpu_softirq, cpu_steal, cpu_busy_max, load_1, load_5, load_15, load_1_max, runnable,
       runnable_max, blocked, blocked_max, tasks, tasks_max, context_switches, interrupts, forks,
       memory_total, memory_free, memory_available, memory_buffers, memory_cached, memory_shared,
       memory_slab, memory_available_min, swap_total, swap_free, swap_free_min, swapped_in_bytes,
       swapped_out_bytes, sockets_used, sockets_used_max, tcp_segments_sent,
       tcp_segments_retransmitted, tcp_resets_sent, tcp_connections_reset, uptime_ms, excess,
       tcp_states, core, core_ticks, core_busy, mount_point, mount_device, mount_type, mount_total,
       mount_free, mount_available, mount_inodes, mount_inodes_free, device, device_reads,
       device_writes, device_read_bytes, device_written_bytes, device_busy_ms, interface,
       interface_rx_errors, interface_tx_errors, interface_rx_dropped, interface_tx_dropped,
       interface_overruns, interface_collisions, sensor, sensor_max
FROM host
LEFT JOIN states USING (agent_id, slot)
LEFT JOIN cores USING (agent_id, slot)
LEFT JOIN mounts USING (agent_id, slot)
LEFT JOIN devices USING (agent_id, slot)
LEFT JOIN interfaces USING (agent_id, slot)
LEFT JOIN sensors USING (agent_id, slot)

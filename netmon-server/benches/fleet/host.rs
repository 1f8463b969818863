//! What a simulated host is busy with: two cores, one file system, one disk.

use netmon_common::wire::{
    BlockDevice, CoreTicks, CpuTicks, FileSystem, Load, Memory, SystemSample, Tcp,
};

use crate::source::now_ns;

/// A reading over ten seconds.
pub fn sample() -> SystemSample {
    SystemSample {
        at_unix_ns: now_ns(),
        interval_us: 10_000_000,
        cpu: Some(CpuTicks {
            user: 300,
            system: 200,
            idle: 1480,
            iowait: 20,
            ..CpuTicks::default()
        }),
        cores: Some(CoreTicks {
            core: vec![0, 1],
            user: vec![150, 150],
            system: vec![100, 100],
            idle: vec![740, 740],
            iowait: vec![10, 10],
            ..CoreTicks::default()
        }),
        runnable: Some(2),
        blocked: Some(0),
        context_switches: Some(12_345),
        interrupts: Some(6789),
        forks: Some(12),
        load: Some(Load {
            one: 123,
            five: 110,
            fifteen: 100,
            tasks: 321,
        }),
        memory: Some(Memory {
            total: 8 << 30,
            free: 2 << 30,
            available: Some(5 << 30),
            buffers: 100 << 20,
            cached: 3 << 30,
            ..Memory::default()
        }),
        file_systems: vec![FileSystem {
            mount_point: "/".to_owned(),
            device: "/dev/vda1".to_owned(),
            r#type: "ext4".to_owned(),
            total: 100 << 30,
            free: 60 << 30,
            available: 55 << 30,
            inodes: 6_500_000,
            inodes_free: 6_000_000,
        }],
        block_devices: vec![BlockDevice {
            name: "vda".to_owned(),
            reads: 10,
            writes: 200,
            read_bytes: 40_960,
            written_bytes: 819_200,
            busy_ms: 150,
        }],
        tcp: Some(Tcp {
            states: vec![20, 0, 0, 0, 0, 5, 0, 0, 0, 12, 0],
            segments_sent: Some(4000),
            segments_retransmitted: Some(2),
            ..Tcp::default()
        }),
        sockets_used: Some(200),
        uptime_ms: Some(86_400_000),
        ..SystemSample::default()
    }
}

//! What hosts are busy with, from the live board at every scrape: the few figures that tell how
//! each fares.

use netmon_common::wire::SystemSample;
use prometheus::{GaugeVec, IntGauge, Opts, Registry, TextEncoder};

use super::{REGISTERED, fleet::shares, register};
use crate::live::LiveBoard;

/// The series in Prometheus' text format; at most `max_series` file systems and sensors, shared
/// fairly among the agents, get series of their own.
pub fn render(live: &LiveBoard, max_series: usize) -> String {
    let series = Series::new();
    let snapshots = live.snapshots();
    let hosts: Vec<_> = snapshots
        .iter()
        .filter_map(|(agent, snapshot)| Some((agent.to_string(), snapshot.live.system.as_deref()?)))
        .collect();
    let wanted: Vec<_> = hosts
        .iter()
        .map(|(_, host)| host.file_systems.len() + host.temperatures.len())
        .collect();
    for ((agent, host), share) in hosts.iter().zip(shares(&wanted, max_series)) {
        series.host(agent, host);
        series.parts(agent, host, share);
    }
    // Only families with samples and text that is UTF-8, all the encoder asks.
    TextEncoder::new()
        .encode_to_string(&series.registry.gather())
        .expect("complete metric families")
}

struct Series {
    registry: Registry,
    cpu_busy: GaugeVec,
    loads: [GaugeVec; 3],
    memory_available: GaugeVec,
    memory_total: GaugeVec,
    file_system_size: GaugeVec,
    file_system_available: GaugeVec,
    temperature: GaugeVec,
    surplus: IntGauge,
}

impl Series {
    fn new() -> Self {
        let registry = Registry::new();
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let opts = Opts::new(format!("netmon_host_{name}"), help);
            register(&registry, GaugeVec::new(opts, labels).expect(REGISTERED))
        };
        let surplus = Opts::new(
            "netmon_server_host_parts_without_series",
            "File systems and sensors beyond metrics.max_system_series.",
        );
        let agent = &["agent"];
        Self {
            cpu_busy: gauges(
                "cpu_busy_ratio",
                "Share of time in which the processors were neither idle nor waiting for I/O.",
                agent,
            ),
            loads: [("load1", 1), ("load5", 5), ("load15", 15)].map(|(name, minutes)| {
                let help = format!("The kernel's load average over {minutes} min.");
                gauges(name, &help, agent)
            }),
            memory_available: gauges(
                "memory_available_bytes",
                "Memory that programs could get without swapping.",
                agent,
            ),
            memory_total: gauges(
                "memory_total_bytes",
                "Memory the kernel can give out.",
                agent,
            ),
            file_system_size: gauges(
                "file_system_size_bytes",
                "Size of a mounted file system.",
                &["agent", "mount_point"],
            ),
            file_system_available: gauges(
                "file_system_available_bytes",
                "What an unprivileged user can still take of it.",
                &["agent", "mount_point"],
            ),
            temperature: gauges(
                "temperature_celsius",
                "What a sensor shows.",
                &["agent", "sensor"],
            ),
            surplus: register(&registry, IntGauge::with_opts(surplus).expect(REGISTERED)),
            registry,
        }
    }

    fn host(&self, agent: &str, host: &SystemSample) {
        let label = &[agent];
        if let Some(cpu) = host.cpu {
            let idle = f64::from(cpu.idle) + f64::from(cpu.iowait);
            let kinds = [
                cpu.user,
                cpu.nice,
                cpu.system,
                cpu.irq,
                cpu.softirq,
                cpu.steal,
            ];
            let busy: f64 = kinds.into_iter().map(f64::from).sum();
            if idle + busy > 0.0 {
                let ratio = busy / (idle + busy);
                self.cpu_busy.with_label_values(label).set(ratio);
            }
        }
        if let Some(load) = host.load {
            for (gauges, hundredths) in self.loads.iter().zip([load.one, load.five, load.fifteen]) {
                let load = f64::from(hundredths) / 100.0;
                gauges.with_label_values(label).set(load);
            }
        }
        if let Some(memory) = host.memory {
            let available = memory.available.unwrap_or(memory.free);
            let total = self.memory_total.with_label_values(label);
            total.set(memory.total as f64);
            let gauge = self.memory_available.with_label_values(label);
            gauge.set(available as f64);
        }
    }

    fn parts(&self, agent: &str, host: &SystemSample, share: usize) {
        for mount in host.file_systems.iter().take(share) {
            let labels = &[agent, mount.mount_point.as_str()];
            let size = self.file_system_size.with_label_values(labels);
            size.set(mount.total as f64);
            let available = self.file_system_available.with_label_values(labels);
            available.set(mount.available as f64);
        }
        let left = share.saturating_sub(host.file_systems.len());
        for temperature in host.temperatures.iter().take(left) {
            let labels = &[agent, temperature.sensor.as_str()];
            let celsius = f64::from(temperature.millidegrees_celsius) / 1000.0;
            self.temperature.with_label_values(labels).set(celsius);
        }
        let wanted = host.file_systems.len() + host.temperatures.len();
        self.surplus.add((wanted - share) as i64);
    }
}

#[cfg(test)]
mod tests {
    use netmon_common::wire::{CpuTicks, FileSystem, Live, Load, Memory, Temperature};

    use super::*;
    use crate::{agent_id::AgentId, live::Sent};

    fn board(agents: i64, mounts: usize) -> LiveBoard {
        let board = LiveBoard::new();
        for agent in 1..=agents {
            let mount = |n: usize| FileSystem {
                mount_point: format!("/srv/{n}"),
                total: 1000,
                available: 10,
                ..FileSystem::default()
            };
            let system = SystemSample {
                cpu: Some(CpuTicks {
                    user: 25,
                    idle: 70,
                    iowait: 5,
                    ..CpuTicks::default()
                }),
                load: Some(Load {
                    one: 150,
                    ..Load::default()
                }),
                memory: Some(Memory {
                    total: 100,
                    free: 10,
                    available: Some(40),
                    ..Memory::default()
                }),
                file_systems: (0..mounts).map(mount).collect(),
                temperatures: vec![Temperature {
                    sensor: "nvme/Composite".to_owned(),
                    millidegrees_celsius: 30_500,
                }],
                ..SystemSample::default()
            };
            let live = Live {
                system: Some(Box::new(system)),
                ..Live::default()
            };
            board.record(AgentId::from_bigint(agent), Sent::default(), live);
        }
        board
    }

    #[test]
    fn a_host_is_shown_in_base_units() {
        let text = render(&board(1, 1), 100);
        for line in [
            "netmon_host_cpu_busy_ratio{agent=\"0000000000000001\"} 0.25",
            "netmon_host_load1{agent=\"0000000000000001\"} 1.5",
            "netmon_host_memory_available_bytes{agent=\"0000000000000001\"} 40",
            "netmon_host_file_system_available_bytes{agent=\"0000000000000001\",mount_point=\"/srv/0\"} 10",
            "netmon_host_temperature_celsius{agent=\"0000000000000001\",sensor=\"nvme/Composite\"} 30.5",
            "netmon_server_host_parts_without_series 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn parts_beyond_the_bound_are_counted_instead_of_shown() {
        let text = render(&board(2, 5), 6);
        let shown = |name: &str| text.lines().filter(|l| l.starts_with(name)).count();
        let shown = shown("netmon_host_file_system_size_bytes{")
            + shown("netmon_host_temperature_celsius{");
        assert_eq!(shown, 6);
        let surplus = "netmon_server_host_parts_without_series 6";
        assert!(text.lines().any(|l| l == surplus), "{text}");
    }
}

//! What Prometheus sees of the host: the few figures that tell how it fares. Who wants all of them
//! runs the node exporter.

use std::collections::HashSet;

use netmon_common::wire::{CpuTicks, SystemSample};
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, Opts, Registry, core::Collector};

use super::{Source, collect::Collected};

const REGISTERED: &str = "valid names that are used once";

/// Gauges of the newest sample.
#[derive(Debug)]
pub struct Metrics {
    cpu_busy: Gauge,
    loads: [Gauge; 3],
    memory_available: Gauge,
    memory_total: Gauge,
    file_system_size: GaugeVec,
    file_system_available: GaugeVec,
    temperature: GaugeVec,
    samples: IntCounter,
    missing: IntCounterVec,
    excess: IntCounter,
}

/// The share of time in which the processors were neither idle nor waiting for I/O, 0 to 1; `None`
/// when no tick has passed.
pub fn busy_ratio(cpu: &CpuTicks) -> Option<f64> {
    let idle = u64::from(cpu.idle) + u64::from(cpu.iowait);
    let busy = [
        cpu.user,
        cpu.nice,
        cpu.system,
        cpu.irq,
        cpu.softirq,
        cpu.steal,
    ];
    let busy: u64 = busy.into_iter().map(u64::from).sum();
    (idle + busy > 0).then(|| busy as f64 / (idle + busy) as f64)
}

impl Metrics {
    /// All at zero.
    pub fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str| {
            add(
                registry,
                Gauge::with_opts(options(name, help)).expect(REGISTERED),
            )
        };
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = GaugeVec::new(options(name, help), &[label]);
            add(registry, gauges.expect(REGISTERED))
        };
        let missing = IntCounterVec::new(
            options(
                "missing_total",
                "Figures of the host that could not be read, by source.",
            ),
            &["source"],
        );
        let missing = add(registry, missing.expect(REGISTERED));
        for source in Source::ALL {
            missing.with_label_values(&[source.name()]);
        }
        let counter = |name: &str, help: &str| {
            add(
                registry,
                IntCounter::with_opts(options(name, help)).expect(REGISTERED),
            )
        };
        Self {
            cpu_busy: gauge(
                "cpu_busy_ratio",
                "Share of the last interval in which the processors were neither idle nor waiting for I/O.",
            ),
            loads: [("load1", 1), ("load5", 5), ("load15", 15)].map(|(name, minutes)| {
                gauge(
                    name,
                    &format!("The kernel's load average over {minutes} min."),
                )
            }),
            memory_available: gauge(
                "memory_available_bytes",
                "Memory that programs could get without swapping.",
            ),
            memory_total: gauge("memory_total_bytes", "Memory the kernel can give out."),
            file_system_size: gauges(
                "file_system_size_bytes",
                "Size of a mounted file system.",
                "mount_point",
            ),
            file_system_available: gauges(
                "file_system_available_bytes",
                "What an unprivileged user can still take of it.",
                "mount_point",
            ),
            temperature: gauges("temperature_celsius", "What a sensor shows.", "sensor"),
            samples: counter("samples_total", "Readings of the host."),
            missing,
            excess: counter(
                "excess_total",
                "Cores, file systems, devices, interfaces and sensors left out of a sample.",
            ),
        }
    }

    /// Shows a sample.
    pub fn update(&self, Collected { sample, missing }: &Collected) {
        self.samples.inc();
        self.excess.inc_by(sample.excess.into());
        for source in missing {
            self.missing.with_label_values(&[source.name()]).inc();
        }
        if let Some(busy) = sample.cpu.as_ref().and_then(busy_ratio) {
            self.cpu_busy.set(busy);
        }
        if let Some(load) = sample.load {
            for (gauge, hundredths) in self.loads.iter().zip([load.one, load.five, load.fifteen]) {
                gauge.set(f64::from(hundredths) / 100.0);
            }
        }
        if let Some(memory) = sample.memory {
            self.memory_total.set(memory.total as f64);
            self.memory_available
                .set(memory.available.unwrap_or(memory.free) as f64);
        }
        self.lists(sample);
    }

    fn lists(&self, sample: &SystemSample) {
        let names = |gauges: &GaugeVec, values: &mut dyn Iterator<Item = (&str, f64)>| {
            let mut shown = HashSet::new();
            for (name, value) in values {
                gauges.with_label_values(&[name]).set(value);
                shown.insert(name.to_owned());
            }
            // One by one: whoever scrapes meanwhile misses none that stay.
            for gone in labels(gauges).difference(&shown) {
                let _ = gauges.remove_label_values(&[gone]);
            }
        };
        let mounts = &sample.file_systems;
        names(
            &self.file_system_size,
            &mut mounts
                .iter()
                .map(|m| (m.mount_point.as_str(), m.total as f64)),
        );
        names(
            &self.file_system_available,
            &mut mounts
                .iter()
                .map(|m| (m.mount_point.as_str(), m.available as f64)),
        );
        let sensors = sample.temperatures.iter();
        names(
            &self.temperature,
            &mut sensors.map(|t| {
                (
                    t.sensor.as_str(),
                    f64::from(t.millidegrees_celsius) / 1000.0,
                )
            }),
        );
    }
}

/// The values of the one label of a family.
fn labels(gauges: &GaugeVec) -> HashSet<String> {
    let families = gauges.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    metrics
        .flat_map(|metric| metric.get_label())
        .map(|label| label.value().to_owned())
        .collect()
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("netmon_agent_system_{name}"), help)
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    let registered = registry.register(Box::new(collector.clone()));
    registered.expect(REGISTERED);
    collector
}

#[cfg(test)]
mod tests {
    use netmon_common::wire::{FileSystem, Memory, Temperature};
    use prometheus::TextEncoder;

    use super::*;

    fn render(registry: &Registry) -> String {
        TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap()
    }

    #[test]
    fn a_sample_is_shown_in_base_units_and_what_is_gone_goes() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry);
        let sample = SystemSample {
            cpu: Some(CpuTicks {
                user: 25,
                idle: 70,
                iowait: 5,
                ..CpuTicks::default()
            }),
            memory: Some(Memory {
                total: 100,
                free: 10,
                available: Some(40),
                ..Memory::default()
            }),
            file_systems: vec![FileSystem {
                mount_point: "/srv".to_owned(),
                total: 1000,
                available: 10,
                ..FileSystem::default()
            }],
            temperatures: vec![Temperature {
                sensor: "coretemp/Core 0".to_owned(),
                millidegrees_celsius: 45_500,
            }],
            ..SystemSample::default()
        };
        metrics.update(&Collected {
            sample,
            missing: vec![Source::FileSystem],
        });
        let text = render(&registry);
        for line in [
            "netmon_agent_system_cpu_busy_ratio 0.25",
            "netmon_agent_system_memory_available_bytes 40",
            "netmon_agent_system_file_system_available_bytes{mount_point=\"/srv\"} 10",
            "netmon_agent_system_temperature_celsius{sensor=\"coretemp/Core 0\"} 45.5",
            "netmon_agent_system_missing_total{source=\"statvfs\"} 1",
            "netmon_agent_system_missing_total{source=\"stat\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        metrics.update(&Collected {
            sample: SystemSample::default(),
            missing: vec![],
        });
        assert!(!render(&registry).contains("/srv"));
    }

    #[test]
    fn a_host_that_counted_no_tick_is_neither_busy_nor_idle() {
        assert_eq!(busy_ratio(&CpuTicks::default()), None);
        let stolen = CpuTicks {
            steal: 1,
            idle: 3,
            ..CpuTicks::default()
        };
        assert_eq!(busy_ratio(&stolen), Some(0.25));
    }
}

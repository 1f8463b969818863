//! Figures of the whole host.

use serde::Serialize;
use utoipa::ToSchema;

use super::PointRow;

/// Shares of the processors' time; they add up to 1.
#[derive(Serialize, ToSchema)]
pub struct Cpu {
    /// Neither idle nor waiting for I/O.
    pub busy_ratio: f64,
    /// Of the busiest reading.
    pub busy_ratio_max: Option<f64>,
    /// Time of virtual machines included.
    pub user_ratio: f64,
    pub nice_ratio: f64,
    pub system_ratio: f64,
    pub idle_ratio: f64,
    pub iowait_ratio: f64,
    pub irq_ratio: f64,
    pub softirq_ratio: f64,
    pub steal_ratio: f64,
}

/// The kernel's load averages.
#[derive(Serialize, ToSchema)]
pub struct Load {
    load_1: Option<f64>,
    load_5: Option<f64>,
    load_15: Option<f64>,
    load_1_max: Option<f64>,
}

/// Threads, and what the kernel does for them.
#[derive(Serialize, ToSchema)]
pub struct Tasks {
    /// Threads there are.
    total: Option<f64>,
    total_max: Option<i32>,
    /// That run or could: the run queue.
    runnable: Option<f64>,
    runnable_max: Option<i32>,
    /// That wait for I/O.
    blocked: Option<f64>,
    blocked_max: Option<i32>,
    forks_per_second: Option<f64>,
    context_switches_per_second: Option<f64>,
    interrupts_per_second: Option<f64>,
}

/// Memory.
#[derive(Serialize, ToSchema)]
pub struct Memory {
    total_bytes: Option<i64>,
    free_bytes: Option<i64>,
    /// What programs could get without swapping.
    available_bytes: Option<i64>,
    available_bytes_min: Option<i64>,
    buffers_bytes: Option<i64>,
    cached_bytes: Option<i64>,
    shared_bytes: Option<i64>,
    slab_bytes: Option<i64>,
}

/// Swap space.
#[derive(Serialize, ToSchema)]
pub struct Swap {
    total_bytes: Option<i64>,
    free_bytes: Option<i64>,
    free_bytes_min: Option<i64>,
    in_bytes_per_second: Option<f64>,
    out_bytes_per_second: Option<f64>,
}

/// TCP over IPv4 and IPv6.
#[derive(Serialize, ToSchema)]
pub struct Tcp {
    segments_sent_per_second: Option<f64>,
    segments_retransmitted_per_second: Option<f64>,
    resets_sent_per_second: Option<f64>,
    /// From ESTABLISHED or CLOSE_WAIT to CLOSE at once.
    connections_reset_per_second: Option<f64>,
}

impl Cpu {
    /// Of ticks by use, in the kernel's order; `None` when none has passed.
    pub fn of(ticks: [i64; 8], busy_ratio_max: Option<f64>) -> Option<Self> {
        let whole = ticks.iter().map(|ticks| *ticks as f64).sum::<f64>();
        if whole <= 0.0 {
            return None;
        }
        let [user, nice, system, idle, iowait, irq, softirq, steal] =
            ticks.map(|ticks| ticks as f64 / whole);
        Some(Self {
            busy_ratio: user + nice + system + irq + softirq + steal,
            busy_ratio_max,
            user_ratio: user,
            nice_ratio: nice,
            system_ratio: system,
            idle_ratio: idle,
            iowait_ratio: iowait,
            irq_ratio: irq,
            softirq_ratio: softirq,
            steal_ratio: steal,
        })
    }
}

impl PointRow {
    pub(super) fn cpu(&self) -> Option<Cpu> {
        let ticks = [
            self.cpu_user?,
            self.cpu_nice?,
            self.cpu_system?,
            self.cpu_idle?,
            self.cpu_iowait?,
            self.cpu_irq?,
            self.cpu_softirq?,
            self.cpu_steal?,
        ];
        Cpu::of(ticks, self.cpu_busy_max)
    }

    pub(super) fn load(&self) -> Load {
        Load {
            load_1: self.load_1.map(hundredths),
            load_5: self.load_5.map(hundredths),
            load_15: self.load_15.map(hundredths),
            load_1_max: self.load_1_max.map(|load| hundredths(load.into())),
        }
    }

    pub(super) fn tasks(&self) -> Tasks {
        Tasks {
            total: self.tasks,
            total_max: self.tasks_max,
            runnable: self.runnable,
            runnable_max: self.runnable_max,
            blocked: self.blocked,
            blocked_max: self.blocked_max,
            forks_per_second: self.rate(self.forks),
            context_switches_per_second: self.rate(self.context_switches),
            interrupts_per_second: self.rate(self.interrupts),
        }
    }

    pub(super) fn memory(&self) -> Memory {
        Memory {
            total_bytes: self.memory_total,
            free_bytes: octets(self.memory_free),
            available_bytes: octets(self.memory_available),
            available_bytes_min: self.memory_available_min,
            buffers_bytes: octets(self.memory_buffers),
            cached_bytes: octets(self.memory_cached),
            shared_bytes: octets(self.memory_shared),
            slab_bytes: octets(self.memory_slab),
        }
    }

    pub(super) fn swap(&self) -> Swap {
        Swap {
            total_bytes: self.swap_total,
            free_bytes: octets(self.swap_free),
            free_bytes_min: self.swap_free_min,
            in_bytes_per_second: self.rate(self.swapped_in_bytes),
            out_bytes_per_second: self.rate(self.swapped_out_bytes),
        }
    }

    pub(super) fn tcp(&self) -> Tcp {
        Tcp {
            segments_sent_per_second: self.rate(self.tcp_segments_sent),
            segments_retransmitted_per_second: self.rate(self.tcp_segments_retransmitted),
            resets_sent_per_second: self.rate(self.tcp_resets_sent),
            connections_reset_per_second: self.rate(self.tcp_connections_reset),
        }
    }
}

fn hundredths(value: f64) -> f64 {
    value / 100.0
}

fn octets(average: Option<f64>) -> Option<i64> {
    average.map(|octets| octets.round() as i64)
}

//! `/proc/stat`, `/proc/loadavg` and `/proc/uptime`.

use super::hundredths;

/// How many kinds of time there are in [`Ticks`].
pub const TICK_FIELDS: usize = 8;

/// Time by use since the boot, in ticks of 10 ms (`USER_HZ`): user (guests included), nice, system,
/// idle, iowait, irq, softirq, steal.
pub type Ticks = [u64; TICK_FIELDS];

/// The `cpu` lines of `/proc/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// All cores, also those that are offline now.
    pub total: Ticks,
    /// Cores that are online, by number, ascending.
    pub cores: Vec<(u32, Ticks)>,
}

/// The other lines of `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Tasks that run or could.
    pub runnable: Option<u32>,
    /// Tasks that wait for I/O.
    pub blocked: Option<u32>,
    /// Since the boot.
    pub context_switches: Option<u64>,
    /// Since the boot.
    pub interrupts: Option<u64>,
    /// Processes and threads made since the boot.
    pub forks: Option<u64>,
}

/// `/proc/loadavg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Hundredths, over 1, 5 and 15 minutes.
    pub averages: [u32; 3],
    /// Threads there are.
    pub tasks: u32,
}

/// The processors of `/proc/stat`; `None` without a line for all of them.
pub fn cpu(stat: &str) -> Option<Cpu> {
    let mut total = None;
    let mut cores = Vec::new();
    for line in stat.lines() {
        // They come first.
        let Some(rest) = line.strip_prefix("cpu") else {
            break;
        };
        let mut words = rest.split_ascii_whitespace();
        if rest.starts_with(' ') {
            total = ticks(words);
        } else if let Some(core) = words.next().and_then(|word| word.parse().ok())
            && let Some(ticks) = ticks(words)
        {
            cores.push((core, ticks));
        }
    }
    cores.sort_unstable_by_key(|(core, _)| *core);
    cores.dedup_by_key(|(core, _)| *core);
    Some(Cpu {
        total: total?,
        cores,
    })
}

/// Steal came with Linux 2.6.11, and some emulations of `/proc` stop at idle: what is not there is 0.
fn ticks<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Ticks> {
    let mut ticks = [0; TICK_FIELDS];
    for (index, field) in ticks.iter_mut().enumerate() {
        match words.next() {
            Some(word) => *field = word.parse().ok()?,
            None if index >= 4 => break,
            None => return None,
        }
    }
    Some(ticks)
}

/// The counters of `/proc/stat`.
pub fn activity(stat: &str) -> Activity {
    let mut activity = Activity::default();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        let (number, small) = (value.parse().ok(), value.parse().ok());
        match name {
            "ctxt" => activity.context_switches = number,
            // The first number is the sum of the others, which are per interrupt.
            "intr" => activity.interrupts = number,
            "processes" => activity.forks = number,
            "procs_running" => activity.runnable = small,
            "procs_blocked" => activity.blocked = small,
            _ => {}
        }
    }
    activity
}

/// `/proc/loadavg`: `0.31 0.22 0.57 3/108 29378`.
pub fn load(loadavg: &str) -> Option<Load> {
    let mut words = loadavg.split_ascii_whitespace();
    let mut averages = [0; 3];
    for average in &mut averages {
        *average = u32::try_from(hundredths(words.next()?)?).ok()?;
    }
    let (_, tasks) = words.next()?.split_once('/')?;
    Some(Load {
        averages,
        tasks: tasks.parse().ok()?,
    })
}

/// `/proc/uptime`: seconds since the boot, then idle time.
pub fn uptime_ms(uptime: &str) -> Option<u64> {
    let seconds = uptime.split_ascii_whitespace().next()?;
    hundredths(seconds)?.checked_mul(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.18, two cores.
    const LINUX_6_18: &str = "\
cpu  708244 59356 253371 1326022 15593 0 4665 8649 0 0
cpu0 335409 29550 120185 691837 4670 0 1304 4453 0 0
cpu1 372835 29806 133186 634184 10922 0 3360 4195 0 0
intr 14975282 0 0 0 1 1 13 0 0 2387
ctxt 17126405
btime 1795224938
processes 387932
procs_running 3
procs_blocked 0
softirq 12806508 0 610884 3947
";

    /// Linux 2.6.32 (RHEL 6): nine columns, cores 1 and 2 offline.
    const LINUX_2_6_32: &str = "\
cpu  2255 34 2290 22625563 6290 127 456 0 0
cpu0 1132 34 1441 11311718 3675 127 438 0 0
cpu3 1123 0 849 11313845 2614 0 18 0 0
intr 114930548 113199788 3 0 5
ctxt 1990473
btime 1062191376
processes 2915
procs_running 1
procs_blocked 1
";

    #[test]
    fn kernels_old_and_new_are_understood() {
        let new = cpu(LINUX_6_18).unwrap();
        assert_eq!(
            new.total,
            [708_244, 59_356, 253_371, 1_326_022, 15_593, 0, 4_665, 8_649]
        );
        assert_eq!(new.cores.len(), 2);
        let old = cpu(LINUX_2_6_32).unwrap();
        assert_eq!(old.total[7], 0);
        let numbers: Vec<_> = old.cores.iter().map(|(core, _)| *core).collect();
        assert_eq!(numbers, [0, 3], "an offline core does not shift the others");
    }

    #[test]
    fn counters_are_found_by_name() {
        assert_eq!(
            activity(LINUX_6_18),
            Activity {
                runnable: Some(3),
                blocked: Some(0),
                context_switches: Some(17_126_405),
                interrupts: Some(14_975_282),
                forks: Some(387_932),
            }
        );
        assert_eq!(activity("ctxt many\n"), Activity::default());
    }

    #[test]
    fn text_that_is_no_stat_has_no_processors() {
        for text in [
            "",
            "cpu\n",
            "cpu  1 2 3\n",
            "cpu  1 2 x 4\n",
            "cpu0 1 2 3 4\n",
            "intr 1\n",
        ] {
            assert_eq!(cpu(text), None, "{text:?}");
        }
        assert_eq!(
            cpu("cpu  1 2 3 4\n").unwrap().total,
            [1, 2, 3, 4, 0, 0, 0, 0]
        );
    }

    #[test]
    fn load_averages_are_exact_hundredths() {
        assert_eq!(
            load("0.31 10.22 0.57 3/108 29378\n"),
            Some(Load {
                averages: [31, 1022, 57],
                tasks: 108
            })
        );
        for text in ["", "0.31 0.22 0.57", "0.31 0.22 0.57 3 1", "a b c 1/2 3"] {
            assert_eq!(load(text), None, "{text:?}");
        }
    }

    #[test]
    fn uptime_has_hundredths_of_a_second() {
        assert_eq!(uptime_ms("11937.10 13260.22\n"), Some(11_937_100));
        assert_eq!(uptime_ms(""), None);
    }
}

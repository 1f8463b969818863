//! Time of single cores.

use netmon_common::wire::{CoreTicks, system_limits as limits};

use super::lists::bounded;
use crate::store::{Invalid, copy::CopyBuffer, invalid::fit};

/// Cores by their numbers.
pub(super) struct Cores {
    numbers: Vec<i16>,
    /// By kind of time; empty: 0 for every core.
    ticks: [Vec<i32>; 8],
}

impl Cores {
    pub(super) fn new(cores: &CoreTicks) -> Result<Self, Invalid> {
        bounded("cores.core", cores.core.len(), limits::CORES)?;
        let ascending = cores.core.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending {
            return Err(Invalid::new("cores.core", "the numbers do not ascend"));
        }
        let numbers = cores.core.iter().map(|core| fit("cores.core", *core));
        let kinds = [
            &cores.user,
            &cores.nice,
            &cores.system,
            &cores.idle,
            &cores.iowait,
            &cores.irq,
            &cores.softirq,
            &cores.steal,
        ];
        let mut ticks: [Vec<i32>; 8] = Default::default();
        for (ticks, kind) in ticks.iter_mut().zip(kinds) {
            if !kind.is_empty() && kind.len() != cores.core.len() {
                let problem = format_args!("{} values for {} cores", kind.len(), cores.core.len());
                return Err(Invalid::new("cores", problem));
            }
            let values = kind.iter().map(|value| fit("cores", *value));
            *ticks = values.collect::<Result<_, _>>()?;
        }
        Ok(Self {
            numbers: numbers.collect::<Result<_, _>>()?,
            ticks,
        })
    }
}

/// Nulls for none.
pub(super) fn append(out: &mut CopyBuffer, cores: Option<&Cores>) {
    let cores = cores.filter(|cores| !cores.numbers.is_empty());
    out.optional(cores, |out, cores| {
        out.int2_array(cores.numbers.iter().copied());
    });
    for kind in 0..8 {
        let ticks = cores.map(|cores| &cores.ticks[kind]);
        out.optional(ticks.filter(|ticks| !ticks.is_empty()), |out, ticks| {
            out.int4_array(ticks.iter().copied());
        });
    }
}

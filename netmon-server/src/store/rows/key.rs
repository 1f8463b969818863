//! The key of a batch.

use netmon_common::wire::{Batch, Kind};

use crate::{
    agent_id::AgentId,
    store::{Invalid, invalid::fit, ledger::Key},
};

/// The batch's key, once it is certain that the batch holds nothing of another kind: rows are
/// told apart by epoch and sequence, which two kinds may share.
pub(super) fn of(
    agent: AgentId,
    batch: &Batch,
    frames: usize,
    exchanges: usize,
) -> Result<Key, Invalid> {
    let epoch = fit("epoch", batch.epoch)?;
    let sequence = fit("sequence", batch.sequence)?;
    if sequence == 0 {
        return Err(Invalid::new(
            "sequence",
            "is 0; the first batch of a stream is 1",
        ));
    }
    let kind = Kind::try_from(batch.kind).map_err(|_| {
        let problem = format_args!("{} is no kind this server knows", batch.kind);
        Invalid::new("kind", problem)
    })?;
    let carried = [
        ("bandwidth", Kind::Bandwidth, frames),
        ("exchanges", Kind::Exchanges, exchanges),
        ("ntp_folds", Kind::Exchanges, batch.ntp_folds.len()),
        ("ntp_controls", Kind::Exchanges, batch.ntp_controls.len()),
        ("system", Kind::System, batch.system.len()),
        ("sightings", Kind::Sightings, batch.sightings.len()),
    ];
    for (place, of, count) in carried {
        if count > 0 && kind != of && kind != Kind::Unspecified {
            let problem = format_args!("has no place in a batch of kind {}", kind.name());
            return Err(Invalid::new(place, problem));
        }
    }
    Ok(Key {
        agent: agent.to_bigint(),
        epoch,
        kind: kind as i16,
        sequence,
    })
}

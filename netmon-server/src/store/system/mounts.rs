//! File systems.

use netmon_common::wire::{SystemSample, system_limits as limits};

use super::{
    lists::{bounded, some, unique},
    names,
};
use crate::store::{Invalid, copy::CopyBuffer};

/// One file system.
pub(super) struct Mount<'a> {
    names: [&'a str; 3],
    /// Total, free, available; inodes and those free.
    figures: [i64; 5],
}

pub(super) fn of(sample: &SystemSample) -> Result<Vec<Mount<'_>>, Invalid> {
    let mounts = &sample.file_systems;
    bounded("file_systems", mounts.len(), limits::FILE_SYSTEMS)?;
    unique(
        "file_systems",
        mounts.iter().map(|m| m.mount_point.as_str()),
    )?;
    let checked = mounts.iter().enumerate().map(|(index, mount)| {
        let names = [&mount.mount_point, &mount.device, &mount.r#type].map(String::as_str);
        let [total, free, available, inodes, inodes_free] = [
            mount.total,
            mount.free,
            mount.available,
            mount.inodes,
            mount.inodes_free,
        ]
        .map(inode_count);
        names
            .iter()
            .try_for_each(|name| names::check("names", name))
            .map_err(|invalid| invalid.within(format_args!("file_systems[{index}]")))?;
        Ok(Mount {
            names,
            figures: [total, free, available, inodes, inodes_free],
        })
    });
    checked.collect()
}

/// Some file systems (btrfs with quotas, network file systems) answer with all bits set for "any
/// number".
fn inode_count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn append(out: &mut CopyBuffer, mounts: &[Mount<'_>]) {
    for name in 0..3 {
        out.optional(some(mounts), |out, mounts| {
            out.text_array(mounts.iter().map(|mount| mount.names[name]));
        });
    }
    for figure in 0..5 {
        out.optional(some(mounts), |out, mounts| {
            out.int8_array(mounts.iter().map(|mount| mount.figures[figure]));
        });
    }
}

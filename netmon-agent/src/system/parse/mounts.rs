//! `/proc/self/mountinfo`.

use std::collections::BTreeMap;

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub mount_point: String,
    /// What, such as `/dev/sda1`.
    pub device: String,
    /// The kernel's name of the type.
    pub kind: String,
}

/// One mount for each file system whose type is among `kinds`, by mount point. Of several mounts of
/// one file system (bind mounts, containers) the one of its root counts, and of these the shortest.
/// What is mounted over something hides it.
pub fn mounts(mountinfo: &str, kinds: &[String]) -> Vec<Mount> {
    let mut visible = BTreeMap::new();
    for (device_number, root, mount) in mountinfo.lines().filter_map(line) {
        visible.insert(mount.mount_point.clone(), (device_number, root, mount));
    }
    let mut chosen = BTreeMap::new();
    for (device_number, root, mount) in visible.into_values() {
        if !kinds.contains(&mount.kind) {
            continue;
        }
        let rank = (root != "/", mount.mount_point.len());
        let entry = chosen.entry(device_number).or_insert((rank, mount.clone()));
        if rank < entry.0 {
            *entry = (rank, mount);
        }
    }
    let mut mounts: Vec<_> = chosen.into_values().map(|(_, mount)| mount).collect();
    mounts.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
    mounts
}

/// Device number, root within the file system, and the mount (proc(5)):
/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`.
fn line(line: &str) -> Option<(String, String, Mount)> {
    let (before, after) = line.split_once(" - ")?;
    let before: Vec<_> = before.split(' ').collect();
    let mut after = after.split(' ');
    let kind = after.next()?.to_owned();
    let mount = Mount {
        mount_point: unescaped(before.get(4)?),
        device: unescaped(after.next()?),
        kind,
    };
    Some((
        (*before.get(2)?).to_owned(),
        unescaped(before.get(3)?),
        mount,
    ))
}

/// The kernel writes space, tab, newline and backslash as `\040` and the like.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let octal = after
            .get(..3)
            .filter(|digits| *first == b'\\' && is_octal(digits));
        if let Some(digits) = octal {
            bytes.push(digits.iter().fold(0_u8, |value, digit| {
                value.wrapping_mul(8).wrapping_add(digit - b'0')
            }));
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_octal(digits: &[u8]) -> bool {
    digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Vec<String> {
        vec!["ext4".to_owned(), "xfs".to_owned()]
    }

    fn found(mountinfo: &str) -> Vec<String> {
        let mounts = mounts(mountinfo, &kinds()).into_iter();
        mounts
            .map(|m| format!("{} {} {}", m.mount_point, m.device, m.kind))
            .collect()
    }

    #[test]
    fn each_file_system_counts_once_where_its_root_is_mounted() {
        let text = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
42 27 254:0 /run/netns /run/netns rw,relatime shared:1 - ext4 /dev/vda rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 8:1 / /srv/very/deep rw shared:2 master:1 - xfs /dev/sda1 rw
29 27 8:1 / /srv/a rw - xfs /dev/sda1 rw
30 27 0:50 / /net rw - nfs4 server:/export rw
31 27 8:2 /sub /only\\040part rw - ext4 /dev/mapper/v\\134g rw
garbage
";
        assert_eq!(
            found(text),
            [
                "/ /dev/vda ext4",
                "/only part /dev/mapper/v\\g ext4",
                "/srv/a /dev/sda1 xfs",
            ]
        );
    }

    #[test]
    fn what_is_mounted_over_hides_what_was_there() {
        let text = "\
28 27 8:1 / /data rw - xfs /dev/sda1 rw
29 27 0:9 / /data rw - tmpfs tmpfs rw
";
        assert_eq!(found(text), [""; 0]);
    }
}

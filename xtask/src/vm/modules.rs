//! Which modules of a kernel come before which, as depmod has written it down.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// `modules.dep`: the path of every module, and of those it needs, the last of them first.
#[derive(Debug)]
pub struct Modules<'a>(BTreeMap<&'a str, (&'a str, Vec<&'a str>)>);

impl<'a> Modules<'a> {
    /// Reads the text of `modules.dep`.
    pub fn parse(text: &'a str) -> Self {
        let lines = text.lines().filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            Some((name(path), (path, needs.split_whitespace().collect())))
        });
        Self(lines.collect())
    }

    /// The paths of these modules and all they need, in an order in which they can be loaded.
    ///
    /// # Errors
    /// When the kernel has no such module.
    pub fn in_order(&self, wanted: &[&str]) -> Result<Vec<&'a str>> {
        let mut ordered = Vec::new();
        for module in wanted {
            let (path, needs) = self
                .0
                .get(module)
                .with_context(|| format!("the kernel has no module {module}"))?;
            for path in needs.iter().rev().chain([path]) {
                if !ordered.contains(path) {
                    ordered.push(path);
                }
            }
        }
        Ok(ordered)
    }
}

/// A module's name in its path.
fn name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/fscache.ko kernel/fs/netfs.ko\n\
                        kernel/net/9p/9pnet.ko:\nkernel/fs/fscache.ko: kernel/fs/netfs.ko\n\
                        kernel/fs/netfs.ko:\nkernel/net/9p/9pnet_virtio.ko: kernel/net/9p/9pnet.ko\n";

    #[test]
    fn what_a_module_needs_is_loaded_before_it_and_once() {
        let modules = Modules::parse(TEXT);
        let ordered = modules.in_order(&["9pnet_virtio", "9p"]).unwrap();
        let names: Vec<_> = ordered.into_iter().map(name).collect();
        assert_eq!(names, ["9pnet", "9pnet_virtio", "netfs", "fscache", "9p"]);
    }

    #[test]
    fn a_module_that_is_not_there_is_named() {
        let error = Modules::parse(TEXT).in_order(&["veth"]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has no module veth");
    }
}

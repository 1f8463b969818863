//! `netmon-server botnet watch`: what agents watch besides the nodes of watched families.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use netmon_common::watch::List;

use crate::{store::botnets::Botnets, watch_text};

/// Have agents watch for addresses and prefixes, besides the nodes of watched families
#[derive(Debug, Subcommand)]
pub enum Watch {
    /// Replace what a family has listed by a file: an address or a prefix a line, # begins a comment
    Import {
        /// The family, by name or alias
        #[arg(long, value_name = "FAMILY")]
        family: String,
        /// The file
        file: PathBuf,
    },
    /// Empty the list of a family
    Clear {
        /// The family, by name or alias
        #[arg(long, value_name = "FAMILY")]
        family: String,
    },
}

/// Does it, and says what came of it. Servers see it within seconds.
///
/// # Errors
/// When the file is no list, the family is not known, or the database does not answer.
pub async fn run(botnets: &Botnets, what: Watch, out: &mut impl Write) -> anyhow::Result<()> {
    let (name, list) = match what {
        Watch::Import { family, file } => {
            let text =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let list = watch_text::parse(&text);
            (family, list.with_context(|| file.display().to_string())?)
        }
        Watch::Clear { family } => (family, List::default()),
    };
    let Some(family) = botnets.family(&name).await? else {
        bail!("no botnet family has the name or alias {name:?}");
    };
    let listed = botnets.set_watch_list(family.id, &list).await?;
    writeln!(
        out,
        "{}: agents watch {} addresses and prefixes (revision {})",
        family.name, listed.entries, listed.revision
    )?;
    Ok(())
}

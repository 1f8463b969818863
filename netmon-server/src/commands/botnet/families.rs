//! `netmon-server botnet families`: which there are, and their names.

use std::io::Write;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use crate::{
    commands::refusals::Format,
    store::botnets::{Botnets, Family, FamilyChange},
};

/// List families, add, change and remove them
#[derive(Debug, Subcommand)]
pub enum Families {
    /// List them
    List(List),
    /// Add one
    Add(Add),
    /// Give one other names, or take them away
    Alias(Alias),
    /// Say whether agents watch for its nodes
    Watch(Watch),
    /// Remove one with its nodes, communications, statistics and raw lines
    Remove(Remove),
}

/// How to list them.
#[derive(Debug, Args)]
pub struct List {
    /// How to print them
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What is to be added.
#[derive(Debug, Args)]
pub struct Add {
    /// 1 to 32 of a-z, 0-9, - and _
    name: String,
    /// Another name for it; may be given several times
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// Let agents watch for its nodes
    #[arg(long)]
    watch: bool,
}

/// Which names.
#[derive(Debug, Args)]
pub struct Alias {
    /// The family: its name or an alias
    family: String,
    /// Another name for it; may be given several times
    #[arg(long = "add", value_name = "NAME")]
    add: Vec<String>,
    /// A name that it no longer has; may be given several times
    #[arg(long = "remove", value_name = "NAME")]
    remove: Vec<String>,
}

/// Whether to watch.
#[derive(Debug, Args)]
pub struct Watch {
    /// The family: its name or an alias
    family: String,
    /// on or off
    #[arg(value_enum)]
    switch: Switch,
}

/// On or off.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Switch {
    /// Agents watch for its nodes
    On,
    /// They do not
    Off,
}

/// Which to remove.
#[derive(Debug, Args)]
pub struct Remove {
    /// The family: its name or an alias
    family: String,
    /// Its name once more, since everything that is known of it goes
    #[arg(long, value_name = "NAME")]
    confirm: String,
}

/// A family as JSON has it.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    aliases: &'a [String],
    watched: bool,
    created_at: String,
}

/// Does it and prints what is so afterwards.
///
/// # Errors
/// When a family is not known, a name cannot be given, or the database does not answer.
pub async fn run(
    botnets: &Botnets,
    arguments: Families,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match arguments {
        Families::List(list) => print(&botnets.families().await?, list.format, out),
        Families::Add(add) => {
            let added = botnets
                .add_family(&add.name, &add.aliases, add.watch)
                .await?;
            print(&[added], Format::Table, out)
        }
        Families::Alias(change) => {
            let family = super::family(botnets, &change.family).await?;
            let mut aliases = family.aliases.clone();
            for name in &change.remove {
                let name = name.to_lowercase();
                if !aliases.contains(&name) {
                    bail!("{:?} is not called {name:?}", family.name);
                }
                aliases.retain(|alias| *alias != name);
            }
            aliases.extend(change.add.iter().map(|name| name.to_lowercase()));
            let aliases = FamilyChange {
                aliases: Some(aliases),
                ..FamilyChange::default()
            };
            let changed = botnets.change_family(family.id, &aliases).await?;
            print(&[changed], Format::Table, out)
        }
        Families::Watch(watch) => {
            let family = super::family(botnets, &watch.family).await?;
            let watched = FamilyChange {
                watched: Some(matches!(watch.switch, Switch::On)),
                ..FamilyChange::default()
            };
            let changed = botnets.change_family(family.id, &watched).await?;
            print(&[changed], Format::Table, out)
        }
        Families::Remove(remove) => {
            let family = super::family(botnets, &remove.family).await?;
            if remove.confirm != family.name {
                bail!(
                    "everything that is known of the family goes for good: say --confirm {}",
                    family.name
                );
            }
            botnets.delete_family(family.id).await?;
            botnets.remove_rest().await?;
            Ok(writeln!(out, "{} is removed", family.name)?)
        }
    }
}

fn print(families: &[Family], format: Format, out: &mut impl Write) -> anyhow::Result<()> {
    if format == Format::Json {
        let shown = families.iter().map(|family| Shown {
            name: &family.name,
            aliases: &family.aliases,
            watched: family.watched,
            created_at: family.created_at.format(&Rfc3339).unwrap_or_default(),
        });
        serde_json::to_writer_pretty(&mut *out, &shown.collect::<Vec<_>>())?;
        return Ok(writeln!(out)?);
    }
    writeln!(out, "{:<32} {:<8} ALIASES", "FAMILY", "WATCHED")?;
    for family in families {
        writeln!(
            out,
            "{:<32} {:<8} {}",
            family.name,
            if family.watched { "yes" } else { "no" },
            family.aliases.join(", ")
        )?;
    }
    Ok(())
}

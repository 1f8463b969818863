//! `netmon-server botnet relocate`: locates nodes again by the geo files of the configuration.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    config, geo,
    geo::relocation::step,
    metrics,
    store::botnets::{BotnetError, Botnets, Family, NumberedAtlas, Relocated},
};

/// What is to be located again.
#[derive(Debug, Args)]
pub struct Question {
    /// Only this family's nodes
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// Say how many nodes would be elsewhere, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command. A server that runs meanwhile, with the same files, does the same by itself: this
/// does it without pauses.
///
/// # Errors
/// When the files cannot be used, the family is not known, or the database does not answer.
pub async fn run(
    botnets: &Botnets,
    settings: &config::Geo,
    question: Question,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let geo = geo::Geo::open(settings, metrics::Geo::default())?;
    let current = geo.current();
    writeln!(out, "geo files: {}", current.edition().description)?;
    let edition = match question.dry_run {
        true => botnets.edition_if_used(current.edition()).await?,
        false => botnets.edition(current.edition()).await?,
    };
    let by = NumberedAtlas {
        atlas: current.atlas(),
        edition,
    };
    let chosen = chosen(botnets, question.family.as_deref()).await?;
    let outdated = botnets.outdated(edition).await?;
    for (family, nodes) in outdated {
        // A family that is being removed has nodes for a while.
        let Some(family) = chosen.iter().find(|chosen| chosen.id == family) else {
            continue;
        };
        writeln!(out, "{}: {nodes} nodes by other files", family.name)?;
        out.flush()?;
        let relocated = match relocate(botnets, family, by, question.dry_run).await {
            Ok(relocated) => relocated,
            Err(BotnetError::FamilyGone) => continue,
            Err(error) => {
                return Err(error).context("stopped there; what was done stays, call it again");
            }
        };
        let Relocated { same, moved } = relocated;
        let tense = if question.dry_run { "would be" } else { "are" };
        writeln!(
            out,
            "{}: {moved} {tense} elsewhere, {same} where they were",
            family.name
        )?;
    }
    match question.dry_run {
        true => writeln!(out, "dry run: nothing was changed")?,
        false => writeln!(out, "all nodes are located by these files")?,
    }
    Ok(())
}

async fn chosen(botnets: &Botnets, name: Option<&str>) -> anyhow::Result<Vec<Family>> {
    let Some(name) = name else {
        return Ok(botnets.families().await?);
    };
    match botnets.family(name).await? {
        Some(family) => Ok(vec![family]),
        None => bail!("there is no family {name:?}: `netmon-server botnet families` lists them"),
    }
}

async fn relocate(
    botnets: &Botnets,
    family: &Family,
    by: NumberedAtlas<'_>,
    dry_run: bool,
) -> Result<Relocated, BotnetError> {
    let (mut all, mut after) = (Relocated::default(), None);
    loop {
        let batch = match dry_run {
            true => botnets.relocation_of(family.id, by, after).await?,
            false => step(botnets, family.id, by, after).await?,
        };
        all.add(batch.relocated);
        after = match batch.next_after {
            Some(address) => Some(address),
            None => return Ok(all),
        };
    }
}

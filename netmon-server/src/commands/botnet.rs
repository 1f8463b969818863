//! `netmon-server botnet`: logs in from files, families, audit and repair.

mod families;
mod import;
mod reprocess;

use std::{io::Write, sync::Arc};

use clap::Subcommand;
use sqlx::PgPool;

use super::{botnet_audit, botnet_repair, botnet_watch, relocate};
use crate::{
    config::Config,
    geo::Geo,
    metrics,
    store::botnets::{Botnets, Family},
};

pub use families::Families;
pub use import::Import;
pub use reprocess::Reprocess;

/// Botnets: logs in from files, families, audit and repair
#[derive(Debug, Subcommand)]
pub enum Botnet {
    /// Store logs from files, as an upload does; exit status 0 if every file was read to its end,
    /// also if lines were rejected, 1 if one was not
    Import(Import),
    /// Read stored lines once more and add those that were rejected and can be read now
    Reprocess(Reprocess),
    /// List families, add, change and remove them
    #[command(subcommand)]
    Families(Families),
    /// Prove that every node has its communications; exit status 0 if so, 1 if not, 2 if that could
    /// not be checked
    Audit(botnet_audit::Question),
    /// Give nodes the communications that they lack; says only what it would do without --execute
    Repair(botnet_repair::Request),
    /// Have agents watch for addresses and prefixes, besides the nodes of watched families
    #[command(subcommand)]
    Watch(botnet_watch::Watch),
    /// Locate nodes again that were located by other geo files
    Relocate(relocate::Question),
}

/// Does what was asked for; prints to `out`. Gives whether all is well.
///
/// # Errors
/// When something could not be done.
pub async fn run(
    pool: PgPool,
    config: &Config,
    botnet: Botnet,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let botnets = Botnets::new(pool, &config.botnets);
    match botnet {
        Botnet::Import(arguments) => {
            let geo = geo(config)?;
            let botnets = Arc::new(botnets.with_patience(import::PATIENCE));
            return import::run(&botnets, &geo, arguments, out).await;
        }
        Botnet::Reprocess(arguments) => {
            reprocess::run(&botnets, &geo(config)?, arguments, out).await?;
        }
        Botnet::Families(arguments) => families::run(&botnets, arguments, out).await?,
        Botnet::Audit(question) => {
            return botnet_audit::run(botnets.pool(), question, &config.botnets, out).await;
        }
        Botnet::Repair(request) => return botnet_repair::run(&botnets, request, out).await,
        Botnet::Watch(what) => botnet_watch::run(&botnets, what, out).await?,
        Botnet::Relocate(question) => relocate::run(&botnets, &config.geo, question, out).await?,
    }
    Ok(true)
}

fn geo(config: &Config) -> anyhow::Result<Geo> {
    Ok(Geo::open(&config.geo, metrics::Geo::default())?)
}

/// The family of a name or alias.
async fn family(botnets: &Botnets, name: &str) -> anyhow::Result<Family> {
    let found = botnets.family(name).await?;
    found.ok_or_else(|| {
        anyhow::anyhow!(
            "there is no family {name:?}: `botnet families list` shows those there are, \
             `botnet families add` adds one"
        )
    })
}

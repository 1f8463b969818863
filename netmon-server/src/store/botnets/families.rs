//! The families there are.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{BotnetError, Botnets, FamilyId};
use crate::store::lease::Lease;

/// As many families as may be.
pub const MAX_FAMILIES: usize = 1000;

/// What paths beside `/api/v1/botnets/{family}` are called, and a family therefore not.
const RESERVED: [&str; 5] = ["aggregations", "audit", "logs", "statistics", "watch"];

/// As many aliases as a family may have.
pub const MAX_ALIASES: usize = 32;

const COLUMNS: &str = "family_id, name, aliases, watched, created_at";

/// A family.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Family {
    /// Its number.
    #[sqlx(rename = "family_id")]
    pub id: FamilyId,
    /// Its name, lower case.
    pub name: String,
    /// Other names, lower case; each leads to one family.
    pub aliases: Vec<String>,
    /// Whether agents watch for its nodes.
    pub watched: bool,
    /// When it was added.
    pub created_at: OffsetDateTime,
}

/// What is to be changed of a family; `None`: stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyChange {
    /// Another name.
    pub name: Option<String>,
    /// All aliases.
    pub aliases: Option<Vec<String>>,
    /// Whether agents watch for its nodes.
    pub watched: Option<bool>,
}

impl Botnets {
    /// All families, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn families(&self) -> Result<Vec<Family>, BotnetError> {
        let all = format!("SELECT {COLUMNS} FROM botnet_families ORDER BY name");
        Ok(sqlx::query_as(&all).fetch_all(&self.pool).await?)
    }

    /// The family with a name or an alias, in whatever case.
    ///
    /// # Errors
    /// The database's.
    pub async fn family(&self, name_or_alias: &str) -> Result<Option<Family>, BotnetError> {
        let Ok(name) = checked(name_or_alias) else {
            return Ok(None);
        };
        let found =
            format!("SELECT {COLUMNS} FROM botnet_families WHERE name = $1 OR $1 = ANY (aliases)");
        let found = sqlx::query_as(&found).bind(name);
        Ok(found.fetch_optional(&self.pool).await?)
    }

    /// Adds a family.
    ///
    /// # Errors
    /// [`BotnetError::Name`], [`BotnetError::NameTaken`], [`BotnetError::TooManyFamilies`],
    /// [`BotnetError::TooManyAliases`], or the database's.
    pub async fn add_family(
        &self,
        name: &str,
        aliases: &[String],
        watched: bool,
    ) -> Result<Family, BotnetError> {
        let (name, aliases) = (checked(name)?, checked_aliases(aliases)?);
        let mut lease = self.lock_families().await?;
        let connection = lease.connection();
        let families = all(connection).await?;
        if families.len() >= MAX_FAMILIES {
            return Err(BotnetError::TooManyFamilies);
        }
        free(&families, None, &name, &aliases)?;
        let added = format!(
            "INSERT INTO botnet_families (name, aliases, watched, created_at)
             VALUES ($1, $2, $3, $4) RETURNING {COLUMNS}"
        );
        let added = sqlx::query_as(&added)
            .bind(&name)
            .bind(&aliases)
            .bind(watched)
            .bind(OffsetDateTime::now_utc())
            .fetch_one(connection)
            .await?;
        lease.commit().await?;
        Ok(added)
    }

    /// Changes a family; gives what it is now.
    ///
    /// # Errors
    /// As [`Botnets::add_family`], and [`BotnetError::FamilyGone`].
    pub async fn change_family(
        &self,
        id: FamilyId,
        change: &FamilyChange,
    ) -> Result<Family, BotnetError> {
        let mut lease = self.lock_families().await?;
        let connection = lease.connection();
        let families = all(connection).await?;
        let known = families.iter().find(|family| family.id == id);
        let mut family = known.cloned().ok_or(BotnetError::FamilyGone)?;
        if let Some(name) = &change.name {
            family.name = checked(name)?;
        }
        if let Some(aliases) = &change.aliases {
            family.aliases = checked_aliases(aliases)?;
        }
        // A name that becomes the family's own is no other name of it.
        family.aliases.retain(|alias| *alias != family.name);
        family.watched = change.watched.unwrap_or(family.watched);
        free(&families, Some(id), &family.name, &family.aliases)?;
        sqlx::query(
            "UPDATE botnet_families SET name = $2, aliases = $3, watched = $4 WHERE family_id = $1",
        )
        .bind(id)
        .bind(&family.name)
        .bind(&family.aliases)
        .bind(family.watched)
        .execute(connection)
        .await?;
        lease.commit().await?;
        Ok(family)
    }

    /// A transaction in which nobody else changes families; chunks are stored meanwhile.
    async fn lock_families(&self) -> Result<Lease, BotnetError> {
        let mut lease = Lease::begin(&self.pool).await?;
        sqlx::query("LOCK TABLE botnet_families IN SHARE ROW EXCLUSIVE MODE")
            .execute(lease.connection())
            .await?;
        Ok(lease)
    }
}

/// Holds the family until the transaction ends: it can be changed, but not removed.
pub(super) async fn hold(
    connection: &mut PgConnection,
    family: FamilyId,
) -> Result<(), BotnetError> {
    let there: Option<i32> =
        sqlx::query_scalar("SELECT 1 FROM botnet_families WHERE family_id = $1 FOR KEY SHARE")
            .bind(family)
            .fetch_optional(connection)
            .await?;
    there.map(drop).ok_or(BotnetError::FamilyGone)
}

async fn all(connection: &mut PgConnection) -> sqlx::Result<Vec<Family>> {
    sqlx::query_as(&format!("SELECT {COLUMNS} FROM botnet_families"))
        .fetch_all(connection)
        .await
}

/// A name as it is stored.
fn checked(name: &str) -> Result<String, BotnetError> {
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) {
        return Err(BotnetError::Reserved(lower));
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    match (1..=32).contains(&lower.len()) && lower.bytes().all(allowed) {
        true => Ok(lower),
        // Quoted in an error: not without end.
        false => Err(BotnetError::Name(name.chars().take(64).collect())),
    }
}

fn checked_aliases(aliases: &[String]) -> Result<Vec<String>, BotnetError> {
    let distinct: BTreeSet<_> = aliases
        .iter()
        .map(|alias| checked(alias))
        .collect::<Result<_, _>>()?;
    match distinct.len() <= MAX_ALIASES {
        true => Ok(Vec::from_iter(distinct)),
        false => Err(BotnetError::TooManyAliases),
    }
}

/// Whether no other family has one of the names, and no alias is the name itself.
fn free(
    families: &[Family],
    except: Option<FamilyId>,
    name: &str,
    aliases: &[String],
) -> Result<(), BotnetError> {
    let others = || families.iter().filter(|family| Some(family.id) != except);
    let taken = |name: &str| {
        others().any(|family| family.name == name || family.aliases.iter().any(|a| a == name))
    };
    let own = aliases.iter().find(|alias| *alias == name);
    let wanted = std::iter::once(name).chain(aliases.iter().map(String::as_str));
    match own
        .map(String::as_str)
        .or_else(|| wanted.into_iter().find(|name| taken(name)))
    {
        Some(name) => Err(BotnetError::NameTaken(name.to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_lower_case_and_plain() {
        assert_eq!(checked("Mozi-2_b").unwrap(), "mozi-2_b");
        for name in ["", "a b", "ä", "a.b", &"a".repeat(33), "a/b"] {
            assert!(
                matches!(checked(name), Err(BotnetError::Name(_))),
                "{name:?}"
            );
        }
    }

    #[test]
    fn what_is_a_path_of_the_api_is_no_name() {
        for name in RESERVED.map(str::to_uppercase) {
            assert!(
                matches!(checked(&name), Err(BotnetError::Reserved(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn a_name_leads_to_one_family() {
        let family = |id, name: &str, aliases: &[&str]| Family {
            id: FamilyId(id),
            name: name.to_owned(),
            aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
            watched: false,
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        let families = [family(1, "andromeda", &["gamarue"]), family(2, "mozi", &[])];
        let is_free = |except: Option<i64>, name: &str, aliases: &[&str]| {
            let aliases: Vec<_> = aliases.iter().map(|a| (*a).to_owned()).collect();
            free(&families, except.map(FamilyId), name, &aliases).is_ok()
        };
        assert!(is_free(None, "ramnit", &["nimnul"]));
        assert!(!is_free(None, "mozi", &[]));
        assert!(!is_free(None, "gamarue", &[]));
        assert!(!is_free(None, "ramnit", &["mozi"]));
        assert!(!is_free(None, "ramnit", &["ramnit"]));
        assert!(is_free(Some(1), "andromeda", &["gamarue", "wauchos"]));
    }
}

//! Families, their names, and sources.

use netmon_server::store::botnets::{
    BotnetError, Botnets, FamilyChange, FamilyId, MAX_ALIASES, MAX_FAMILIES, SourceKind,
};
use sqlx::Executor;

use crate::{
    botnets::{assert_balanced, botnets, chunk, edition, seen, upload},
    database::number,
};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn six_families_are_there_from_the_start() {
    let (botnets, ..) = botnets().await;
    let families = botnets.families().await.unwrap();
    let known: Vec<_> = families.iter().map(|family| family.name.as_str()).collect();
    let expected = [
        "andromeda",
        "asruex",
        "leethozer",
        "moobot",
        "mozi",
        "ramnit",
    ];
    assert_eq!(known, expected);
    let by_alias = botnets.family("Gamarue").await.unwrap().unwrap();
    assert_eq!(by_alias.name, "andromeda");
    for nobody in ["nobody", "", "a b", &"x".repeat(100)] {
        assert_eq!(botnets.family(nobody).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_name_belongs_to_one_family() {
    let (botnets, _, mozi) = botnets().await;
    let added = botnets
        .add_family("Mirai", &names(&["ELF-mirai"]), true)
        .await
        .unwrap();
    assert_eq!((added.name.as_str(), added.watched), ("mirai", true));
    assert_eq!(
        botnets.family("elf-mirai").await.unwrap(),
        Some(added.clone())
    );
    for (name, aliases) in [
        ("mozi", &[][..]),
        ("satori", &["mirai"]),
        ("nimnul", &[]),
        ("a", &["a"]),
    ] {
        let error = botnets
            .add_family(name, &names(aliases), false)
            .await
            .unwrap_err();
        assert!(
            matches!(error, BotnetError::NameTaken(_)),
            "{name}: {error}"
        );
    }
    let rename = |name: &str| FamilyChange {
        name: Some(name.to_owned()),
        ..FamilyChange::default()
    };
    let taken = botnets
        .change_family(mozi.id, &rename("mirai"))
        .await
        .unwrap_err();
    assert!(matches!(taken, BotnetError::NameTaken(_)), "{taken}");
    // Its own alias becomes its name.
    let changed = botnets
        .change_family(added.id, &rename("elf-mirai"))
        .await
        .unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.aliases.len()),
        ("elf-mirai", 0)
    );
    assert!(changed.watched, "what is not named stays");
    assert_eq!(botnets.family("mirai").await.unwrap(), None);
    let gone = botnets
        .change_family(FamilyId::from(999), &FamilyChange::default())
        .await;
    assert!(matches!(gone, Err(BotnetError::FamilyGone)));
}

#[tokio::test]
async fn families_and_aliases_are_bounded() {
    let (botnets, pool, _) = botnets().await;
    let many: Vec<_> = (0..=MAX_ALIASES).map(|n| format!("alias-{n}")).collect();
    let error = botnets.add_family("many", &many, false).await.unwrap_err();
    assert!(matches!(error, BotnetError::TooManyAliases), "{error}");
    let fill = format!(
        "INSERT INTO botnet_families (name, created_at)
         SELECT 'f' || n, now() FROM generate_series(7, {MAX_FAMILIES}) n"
    );
    pool.execute(fill.as_str()).await.unwrap();
    let error = botnets.add_family("more", &[], false).await.unwrap_err();
    assert!(matches!(error, BotnetError::TooManyFamilies), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_add_the_same_family_add_it_once() {
    let (botnets, ..) = botnets().await;
    let aliases = names(&["elf-mirai"]);
    let (one, other) = tokio::join!(
        botnets.add_family("mirai", &aliases, false),
        botnets.add_family("elf-mirai", &[], false),
    );
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
}

#[tokio::test]
async fn a_removed_family_goes_with_all_its_rows_and_no_others() {
    let (botnets, pool, mozi) = botnets().await;
    let edition = edition(&botnets).await;
    let ramnit = botnets.family("ramnit").await.unwrap().unwrap();
    for family in [&mozi, &ramnit] {
        let upload = upload(&botnets, family, "k").await;
        let sent = chunk(
            0,
            edition,
            (0..300).map(|n| seen(n, upload.received_at)).collect(),
        );
        botnets.store_chunk(&upload, sent).await.unwrap();
    }
    botnets.fold_once().await.unwrap();
    botnets.delete_family(mozi.id).await.unwrap();
    assert_eq!(botnets.family("mozi").await.unwrap(), None);
    // Its name is free before its rows are gone.
    let anew = botnets.add_family("mozi", &[], false).await.unwrap();
    assert_ne!(anew.id, mozi.id);
    assert_eq!(
        botnets.remove_rest().await.unwrap(),
        0,
        "looked after for a while"
    );
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT c.relname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE a.attname = 'family_id' AND c.relkind IN ('r', 'p')
           AND c.relname <> 'botnet_families_removed'
           AND c.relnamespace = current_schema()::regnamespace",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(tables.len() > 8, "{tables:?}");
    for table in tables {
        let left = format!("SELECT count(*) FROM {table} WHERE family_id = {}", mozi.id);
        assert_eq!(number(&pool, &left).await, 0, "{table}");
    }
    assert_eq!(
        number(&pool, "SELECT count(*) FROM botnet_nodes").await,
        300
    );
    assert_balanced(&pool).await;
    pool.execute("UPDATE botnet_families_removed SET removed_at = removed_at - interval '1 hour'")
        .await
        .unwrap();
    assert_eq!(botnets.remove_rest().await.unwrap(), 1);
    assert_eq!(botnets.remove_rest().await.unwrap(), 0);
    let again = botnets.delete_family(mozi.id).await;
    assert!(matches!(again, Err(BotnetError::FamilyGone)));
}

#[tokio::test]
async fn sources_beyond_the_bound_are_one() {
    let (botnets, pool, _) = botnets().await;
    let first = botnets.source(SourceKind::Log, "first").await.unwrap();
    assert_eq!(
        botnets.source(SourceKind::Log, "first").await.unwrap(),
        first
    );
    let long = "ä".repeat(100);
    let cut = botnets.source(SourceKind::Log, &long).await.unwrap();
    assert_ne!(cut, first);
    pool.execute(
        "INSERT INTO botnet_sources (kind, name)
         SELECT 'log', 'n' || n FROM generate_series(1, 9998) n",
    )
    .await
    .unwrap();
    let beyond = botnets.source(SourceKind::Log, "beyond").await.unwrap();
    assert_eq!(
        botnets.source(SourceKind::Log, "also").await.unwrap(),
        beyond
    );
    assert_eq!(
        botnets.source(SourceKind::Log, "other").await.unwrap(),
        beyond
    );
    // Another server finds the same ones; another kind has a bound of its own.
    let other = Botnets::new(pool.clone(), botnets.settings());
    assert_eq!(other.source(SourceKind::Log, "first").await.unwrap(), first);
    assert_ne!(
        other.source(SourceKind::Agent, "beyond").await.unwrap(),
        beyond
    );
    assert_eq!(
        number(&pool, "SELECT max(octet_length(name)) FROM botnet_sources").await,
        64
    );
}

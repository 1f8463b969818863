//! Rules over the catalogs of a database.

use sqlx::PgConnection;

use super::{
    declared::{
        DEFINING_TABLES, DISTRIBUTION, DRAWN_NUMBERS, Declared, NARROW_IDS, REFERENCE_TABLES,
    },
    rule::{Finding, Rule},
    statements::{self, is_declared},
    tokens::located,
};

/// Queries that give what violates a rule: the object, and what is found there. $1: the columns tables
/// are distributed by.
const QUERIES: &[(Rule, &str)] = &[
    (
        Rule::KeyWithoutAgent,
        "SELECT c.relname::text, i.indexrelid::regclass::text
         FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
         WHERE c.relnamespace = current_schema()::regnamespace
           AND (i.indisunique OR i.indisexclusion)
           AND EXISTS (SELECT FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attname = ANY ($1) AND NOT a.attisdropped)
           AND NOT EXISTS (
               SELECT FROM pg_attribute a
               WHERE a.attrelid = c.oid AND a.attname = ANY ($1)
                 AND a.attnum = ANY ((i.indkey::int2[])[0 : i.indnkeyatts - 1]))",
    ),
    (
        // The referenced table may have neither column: a reference table.
        Rule::ForeignKeyWithoutAgent,
        "SELECT k.conrelid::regclass::text, k.conname::text
         FROM pg_constraint k
         WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace
           AND EXISTS (SELECT FROM pg_attribute a
                       WHERE a.attrelid = k.confrelid AND a.attname = ANY ($1))
           AND NOT EXISTS (
               SELECT FROM unnest(k.conkey, k.confkey) AS u (here, there)
               JOIN pg_attribute h ON h.attrelid = k.conrelid AND h.attnum = u.here
               JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = u.there
               WHERE h.attname = ANY ($1) AND t.attname = h.attname)",
    ),
    (
        Rule::AgentUpdated,
        "SELECT k.conrelid::regclass::text, k.conname || ' changes keys'
         FROM pg_constraint k
         WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace
           AND (k.confupdtype IN ('c', 'n', 'd') OR k.confdeltype IN ('n', 'd'))",
    ),
    (
        Rule::NarrowId,
        "SELECT c.relname::text, a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND a.attnum > 0 AND NOT a.attisdropped
           AND (a.attname = 'id' OR a.attname LIKE '%\\_id')
           AND (a.atttypid <> 'int8'::regtype OR a.attname = ANY ($1) AND NOT a.attnotnull)",
    ),
    (
        Rule::Sequence,
        "SELECT coalesce(d.refobjid::regclass::text, c.relname), 'sequence ' || c.relname
         FROM pg_class c
         LEFT JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass
              AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'S'
         UNION ALL
         SELECT c.relname::text, a.attname || ' draws numbers'
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%')",
    ),
    (
        Rule::Trigger,
        "SELECT t.tgrelid::regclass::text, t.tgname::text
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.relnamespace = current_schema()::regnamespace AND NOT t.tgisinternal
         UNION ALL
         SELECT r.ev_class::regclass::text, r.rulename::text
         FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
         WHERE c.relnamespace = current_schema()::regnamespace AND r.rulename <> '_RETURN'",
    ),
    (
        Rule::SubPartition,
        "SELECT c.relname::text, 'a partition that is partitioned' FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace
           AND c.relispartition AND c.relkind = 'p'",
    ),
    (
        Rule::MaterializedView,
        "SELECT c.relname::text, 'materialized view' FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'm'",
    ),
];

/// Violations in the current schema.
pub async fn lint(connection: &mut PgConnection) -> Vec<Finding> {
    let mut findings = tables(connection).await;
    for (rule, query) in QUERIES {
        let found: Vec<(String, String)> = sqlx::query_as(query)
            .bind(DISTRIBUTION.map(str::to_owned).to_vec())
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        findings.extend(
            found
                .into_iter()
                .map(|(place, found)| finding(place, *rule, found)),
        );
    }
    except_declared(&mut findings);
    findings.extend(definitions(connection).await);
    findings
}

/// Takes out what is declared, and reports declarations that nothing needs.
fn except_declared(findings: &mut Vec<Finding>) {
    let lists: [(Rule, &[Declared]); 3] = [
        (Rule::KeyWithoutAgent, DEFINING_TABLES),
        (Rule::Sequence, DRAWN_NUMBERS),
        (Rule::NarrowId, NARROW_IDS),
    ];
    for (rule, declared) in lists {
        for declared in declared {
            let before = findings.len();
            findings.retain(|finding| {
                let column = finding.found.split(' ').next();
                let is_named = match rule {
                    Rule::NarrowId => column == Some(declared.name),
                    _ => finding.place == declared.name,
                };
                finding.rule != rule || !is_named
            });
            if findings.len() == before {
                let found = format!("nothing needs it for {rule:?}");
                let name = declared.name.to_owned();
                findings.push(finding(name, Rule::StaleDeclaration, found));
            }
        }
    }
}

fn finding(place: String, rule: Rule, found: String) -> Finding {
    Finding {
        place,
        line: None,
        rule,
        found,
    }
}

/// Tables that are neither distributed nor declared, or both, or declared and not there.
async fn tables(connection: &mut PgConnection) -> Vec<Finding> {
    let tables: Vec<(String, bool)> = sqlx::query_as(
        "SELECT c.relname::text, EXISTS (
             SELECT FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attname = ANY ($1) AND NOT a.attisdropped)
         FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND NOT c.relispartition",
    )
    .bind(DISTRIBUTION.map(str::to_owned).to_vec())
    .fetch_all(connection)
    .await
    .unwrap();
    let mut findings = Vec::new();
    for (table, distributed) in &tables {
        let defines = is_declared(DEFINING_TABLES, table);
        match (
            *distributed && !defines,
            is_declared(REFERENCE_TABLES, table) || defines,
        ) {
            (false, false) => {
                let found = "a table without agent_id".to_owned();
                findings.push(finding(table.clone(), Rule::UndeclaredTable, found));
            }
            (true, true) => {
                let found = "a reference table with agent_id".to_owned();
                findings.push(finding(table.clone(), Rule::StaleDeclaration, found));
            }
            _ => {}
        }
    }
    for declared in REFERENCE_TABLES {
        if !tables.iter().any(|(table, _)| table == declared.name) {
            let found = "a reference table that is not there".to_owned();
            findings.push(finding(
                declared.name.to_owned(),
                Rule::StaleDeclaration,
                found,
            ));
        }
    }
    findings
}

/// Violations within views and functions.
async fn definitions(connection: &mut PgConnection) -> Vec<Finding> {
    let definitions: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.relname::text, pg_get_viewdef(c.oid) FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('v', 'm')
         UNION ALL
         SELECT p.proname::text, p.prosrc FROM pg_proc p
         WHERE p.pronamespace = current_schema()::regnamespace",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    definitions
        .iter()
        .flat_map(|(name, text)| statements::lint(name, &located(text)))
        .collect()
}

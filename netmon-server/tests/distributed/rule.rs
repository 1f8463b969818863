//! The rules, and what is reported of a violation.

use std::fmt;

/// What would be refused by a distributed database, or silently wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    UndeclaredTable,
    StaleDeclaration,
    KeyWithoutAgent,
    ForeignKeyWithoutAgent,
    AgentUpdated,
    NarrowId,
    Sequence,
    VolatileUpdate,
    Trigger,
    SubPartition,
    GroupingSets,
    SkipLocked,
    DetachConcurrently,
    Merge,
    RowAddress,
    SelectInValues,
    AdvisoryLock,
    LocalFigure,
    MaterializedView,
    DoBlock,
}

impl Rule {
    pub const ALL: [Self; 20] = [
        Self::UndeclaredTable,
        Self::StaleDeclaration,
        Self::KeyWithoutAgent,
        Self::ForeignKeyWithoutAgent,
        Self::AgentUpdated,
        Self::NarrowId,
        Self::Sequence,
        Self::VolatileUpdate,
        Self::Trigger,
        Self::SubPartition,
        Self::GroupingSets,
        Self::SkipLocked,
        Self::DetachConcurrently,
        Self::Merge,
        Self::RowAddress,
        Self::SelectInValues,
        Self::AdvisoryLock,
        Self::LocalFigure,
        Self::MaterializedView,
        Self::DoBlock,
    ];

    /// The rule in a few words, and what to do instead.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::UndeclaredTable => (
                "a table has agent_id or is a reference table",
                "add the column, or declare the table with a reason in tests/distributed/declared.rs",
            ),
            Self::StaleDeclaration => (
                "declared exceptions exist",
                "remove the entry from tests/distributed/declared.rs",
            ),
            Self::KeyWithoutAgent => (
                "agent_id is in every primary key, unique index and exclusion constraint",
                "begin the key with agent_id",
            ),
            Self::ForeignKeyWithoutAgent => (
                "a foreign key of a distributed table leads to the same agent_id, or to a reference table",
                "put agent_id into both sides, or drop the constraint",
            ),
            Self::AgentUpdated => (
                "agent_id and family_id never change",
                "leave the column out of SET; delete the row and insert another if it must move",
            ),
            Self::NarrowId => (
                "identifiers are bigint, those of the distribution NOT NULL",
                "declare the column bigint NOT NULL",
            ),
            Self::Sequence => (
                "no serial, identity or sequence: each node would count by itself",
                "let the writer bring the number, drawn at random or counted per agent",
            ),
            Self::VolatileUpdate => (
                "no clock or random function in SET: nodes would differ",
                "bind a parameter, or take the value from EXCLUDED",
            ),
            Self::Trigger => (
                "no triggers and rules: shards do not run them",
                "do the work in the statement that writes",
            ),
            Self::SubPartition => (
                "a partition is not partitioned again",
                "make one level of range partitions",
            ),
            Self::GroupingSets => (
                "no ROLLUP, CUBE or GROUPING SETS: they do not cross shards",
                "write one GROUP BY for each grouping, joined by UNION ALL",
            ),
            Self::SkipLocked => (
                "no SKIP LOCKED: it is refused across shards",
                "take the work by a lease row (store/leadership.rs) or by key",
            ),
            Self::DetachConcurrently => (
                "no DETACH PARTITION CONCURRENTLY",
                "drop the partition under a short lock_timeout (store/expire.rs)",
            ),
            Self::Merge => (
                "no MERGE: from UNNEST it is refused",
                "INSERT … SELECT FROM unnest(…) ON CONFLICT DO UPDATE",
            ),
            Self::RowAddress => (
                "no row is addressed by ctid: each shard has its own",
                "name rows by their key",
            ),
            Self::SelectInValues => ("no sub-select in VALUES", "INSERT … SELECT"),
            Self::AdvisoryLock => (
                "an advisory lock holds on one node only",
                "use a lease row (store/leadership.rs), or declare the place with a reason in \
                 tests/distributed/declared.rs",
            ),
            Self::LocalFigure => (
                "sizes and row estimates of one node are no figures",
                "count rows, or declare the place with a reason in tests/distributed/declared.rs",
            ),
            Self::MaterializedView => (
                "a materialized view lives on one node",
                "a plain view, or a table rolled up by a job",
            ),
            Self::DoBlock => (
                "DO blocks stand in migrations only and are declared",
                "write plain statements, or declare the migration with a reason in \
                 tests/distributed/declared.rs",
            ),
        }
    }
}

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// A file, or an object of the database.
    pub place: String,
    /// The line in the file; `None` for an object.
    pub line: Option<usize>,
    pub rule: Rule,
    /// What was found there.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, remedy) = self.rule.text();
        write!(f, "{}", self.place)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: {rule}; {remedy}", self.found)
    }
}

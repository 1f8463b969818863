//! What may deviate from a rule, each with its reason. An entry nothing needs any more is reported.

/// Something declared, and why.
#[derive(Clone)]
pub struct Declared {
    pub name: &'static str,
    pub reason: &'static str,
}

/// Columns by which tables are distributed.
pub const DISTRIBUTION: [&str; 2] = ["agent_id", "family_id"];

/// Tables without either: small, and whole on every node.
pub const REFERENCE_TABLES: &[Declared] = &[
    Declared {
        name: "rollup_progress",
        reason: "one row per series: how far all agents together are rolled up",
    },
    Declared {
        name: "retained",
        reason: "one row per partitioned table: partitions are dropped for all agents at once",
    },
    Declared {
        name: "job_leases",
        reason: "one row per job: which server does it is no matter of an agent",
    },
    Declared {
        name: "job_results",
        reason: "one row per job: what it found last, over all agents",
    },
    Declared {
        name: "_sqlx_migrations",
        reason: "sqlx's own: which migrations are in; read and written on the coordinator only",
    },
];

/// Files that take an advisory lock.
pub const ADVISORY_LOCKS: &[Declared] = &[Declared {
    name: "src/store/partitions.rs",
    reason: "partitions are made through the one node that database.url names, and two servers \
             that made the same one would get an error and try again",
}];

/// Files that ask for sizes or estimates of a node.
pub const LOCAL_FIGURES: &[Declared] = &[Declared {
    name: "src/store/disk.rs",
    reason: "disk.max_database_bytes looks at the node of database.url alone; off by default",
}];

/// Migrations with a DO block.
pub const DO_BLOCKS: &[Declared] = &[Declared {
    name: "migrations/0002_delivery.sql",
    reason: "renames the partitions there are, on the coordinator, before a table is distributed",
}];

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
        name: "botnet_places",
        reason: "places by code, some thousands, which nodes of all families name by number",
    },
    Declared {
        name: "botnet_geo_editions",
        reason: "which geo files there were: the same for all families",
    },
    Declared {
        name: "botnet_sources",
        reason: "who sends logs: the same for all families, and bounded",
    },
    Declared {
        name: "_sqlx_migrations",
        reason: "sqlx's own: which migrations are in; read and written on the coordinator only",
    },
];

/// Reference tables that define the values of a column of the distribution, and so have it.
pub const DEFINING_TABLES: &[Declared] = &[Declared {
    name: "botnet_families",
    reason: "family_id is given here; some ten rows, whose names are unique over all families",
}];

/// Tables with numbers that the database draws: all their rows are made through the one node that
/// database.url names, and the numbers only have to differ.
pub const DRAWN_NUMBERS: &[Declared] = &[
    Declared {
        name: "botnet_families",
        reason: "a reference table, to which a person adds a row now and then",
    },
    Declared {
        name: "botnet_places",
        reason: "a reference table that is full after the first million nodes",
    },
    Declared {
        name: "botnet_geo_editions",
        reason: "a reference table with a row per geo file",
    },
    Declared {
        name: "botnet_sources",
        reason: "a reference table with at most 10,000 rows of a kind",
    },
    Declared {
        name: "botnet_nodes",
        reason: "node_id says in which order nodes came: what was lost together shows as a run",
    },
    Declared {
        name: "botnet_uploads",
        reason: "upload_id stands for the family and the sender's key, which may be long",
    },
    Declared {
        name: "botnet_deltas",
        reason: "delta_id tells rows apart that are folded and deleted within a second",
    },
    Declared {
        name: "botnet_aggregations",
        reason: "run_id numbers runs that one job makes",
    },
];

/// Migrations that make them.
pub const DRAWING_MIGRATIONS: &[Declared] = &[Declared {
    name: "migrations/0009_botnets.sql",
    reason: "the tables of botnets among DRAWN_NUMBERS",
}];

/// Identifiers of four octets: of small reference tables, and in rows by the ten million.
pub const NARROW_IDS: &[Declared] = &[
    Declared {
        name: "place_id",
        reason: "there are some ten thousand places on earth with a code",
    },
    Declared {
        name: "edition_id",
        reason: "geo files change once a week at most",
    },
    Declared {
        name: "source_id",
        reason: "sources are bounded by 10,000 of a kind",
    },
];

/// Files that take an advisory lock.
pub const ADVISORY_LOCKS: &[Declared] = &[
    Declared {
        name: "src/store/partitions.rs",
        reason: "partitions are made through the one node that database.url names, and two servers \
                 that made the same one would get an error and try again",
    },
    Declared {
        name: "src/botnets/snapshot.rs",
        reason: "the same lock, taken by the rebuild; without it one of two transactions that replace \
                 the same rows fails and is tried again",
    },
    Declared {
        name: "src/store/botnets/fold.rs",
        reason: "statistics are folded and counted afresh through the one node that database.url \
                 names; folding is exact without it, too, and only waits less",
    },
];

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

//! The statement that updates rows folded from exchanges in place: clients and servers.

/// A table with a row per client or server. Times and kiss codes are the same in each.
pub(super) struct Shape {
    pub(super) table: &'static str,
    /// Columns of the key, with their types.
    pub(super) key: &'static [(&'static str, &'static str)],
    /// Columns of the newest exchange.
    pub(super) newest: &'static [(&'static str, &'static str)],
    /// Columns of the newest response.
    pub(super) answer: &'static [(&'static str, &'static str)],
    pub(super) counts: &'static [&'static str],
}

/// The times, as they come: microseconds since 1970.
const TIMES: [(&str, &str); 4] = [
    ("first_seen", "first_us"),
    ("last_seen", "last_us"),
    ("last_answered", "answered_us"),
    ("last_kissed", "kissed_us"),
];

impl Shape {
    /// Takes one array per column, in the order key, newest, answer, `last_kiss`, times, counts.
    ///
    /// Counts add up, times widen, and values are replaced only by newer ones: batches may come in any
    /// order.
    pub(super) fn statement(&self) -> String {
        let columns = [self.key, self.newest, self.answer].concat();
        let names = columns.iter().map(|(name, _)| *name).chain(["last_kiss"]);
        let names: Vec<_> = names.collect();
        let numbers = TIMES.iter().map(|(_, name)| *name);
        let numbers: Vec<_> = numbers.chain(self.counts.iter().copied()).collect();
        let types = columns.iter().map(|(_, kind)| *kind).chain(["text"]);
        let types = types.chain(numbers.iter().map(|_| "int8"));
        let arrays: Vec<_> = (1..)
            .zip(types)
            .map(|(n, kind)| format!("${n}::{kind}[]"))
            .collect();
        let values = names.iter().map(|name| format!("r.{name}"));
        let times = TIMES
            .iter()
            .map(|(_, us)| format!("timestamptz 'epoch' + r.{us} * interval '1 microsecond'"));
        let counts = self.counts.iter().map(|name| format!("r.{name}"));
        let values: Vec<_> = values.chain(times).chain(counts).collect();
        let targets = TIMES.iter().map(|(name, _)| *name);
        let targets = names.iter().copied().chain(targets);
        let targets: Vec<_> = targets.chain(self.counts.iter().copied()).collect();
        let key: Vec<_> = self.key.iter().map(|(name, _)| *name).collect();
        format!(
            "INSERT INTO {table} AS t ({targets})
             SELECT {values} FROM unnest({arrays}) AS r ({names}, {numbers})
             ON CONFLICT ({key}) DO UPDATE SET
                 {replaced},
                 first_seen = least(t.first_seen, EXCLUDED.first_seen),
                 last_seen = greatest(t.last_seen, EXCLUDED.last_seen),
                 last_answered = greatest(t.last_answered, EXCLUDED.last_answered),
                 last_kissed = greatest(t.last_kissed, EXCLUDED.last_kissed),
                 {added}",
            table = self.table,
            targets = targets.join(", "),
            values = values.join(", "),
            arrays = arrays.join(", "),
            names = names.join(", "),
            numbers = numbers.join(", "),
            key = key.join(", "),
            replaced = self.replaced().join(",\n"),
            added = self.added().join(",\n"),
        )
    }

    fn replaced(&self) -> Vec<String> {
        let replace = |name: &str, newer: &str| {
            format!("{name} = CASE WHEN {newer} THEN EXCLUDED.{name} ELSE t.{name} END")
        };
        let newer = |time: &str| format!("EXCLUDED.{time} >= coalesce(t.{time}, '-infinity')");
        let groups = [
            (self.newest, newer("last_seen")),
            (self.answer, newer("last_answered")),
            (&[("last_kiss", "text")], newer("last_kissed")),
        ];
        let columns = groups
            .iter()
            .flat_map(|(columns, newer)| columns.iter().map(move |(name, _)| replace(name, newer)));
        columns.collect()
    }

    fn added(&self) -> Vec<String> {
        let add = |name: &&str| format!("{name} = t.{name} + EXCLUDED.{name}");
        self.counts.iter().map(add).collect()
    }
}

//! Rules over one SQL text, whole or a part that Rust puts together.

use super::{
    declared::{
        ADVISORY_LOCKS, DISTRIBUTION, DO_BLOCKS, DRAWING_MIGRATIONS, Declared, LOCAL_FIGURES,
    },
    rule::{Finding, Rule},
    tokens::{Kind, Token, tokens},
};

/// Functions that answer otherwise each time they are called; those without parentheses come last.
const VOLATILE: [&str; 14] = [
    "now",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "random",
    "gen_random_uuid",
    "nextval",
    "txid_current",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
];
const WITH_PARENTHESES: usize = 9;

/// What a whole statement begins with.
const VERBS: [&str; 16] = [
    "select", "insert", "update", "delete", "with", "create", "alter", "drop", "begin", "set",
    "do", "merge", "values", "truncate", "refresh", "lock",
];

const FIGURES: [&str; 9] = [
    "reltuples",
    "relpages",
    "n_live_tup",
    "n_dead_tup",
    "pg_total_relation_size",
    "pg_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_database_size",
];

/// Sequences of words that are never right; `*` stands for up to six words within a statement.
const FORBIDDEN: &[(&str, Rule)] = &[
    ("create trigger", Rule::Trigger),
    ("replace trigger", Rule::Trigger),
    ("constraint trigger", Rule::Trigger),
    ("event trigger", Rule::Trigger),
    ("create rule", Rule::Trigger),
    ("replace rule", Rule::Trigger),
    ("create sequence", Rule::Sequence),
    ("create temp sequence", Rule::Sequence),
    ("always as identity", Rule::Sequence),
    ("by default as identity", Rule::Sequence),
    ("nextval (", Rule::Sequence),
    ("skip locked", Rule::SkipLocked),
    ("detach partition * concurrently", Rule::DetachConcurrently),
    ("merge into", Rule::Merge),
    ("grouping sets", Rule::GroupingSets),
    ("rollup (", Rule::GroupingSets),
    ("cube (", Rule::GroupingSets),
    ("create materialized view", Rule::MaterializedView),
    ("refresh materialized view", Rule::MaterializedView),
    ("partition of * partition by", Rule::SubPartition),
    ("ctid", Rule::RowAddress),
];

const SERIAL: [&str; 6] = [
    "serial",
    "bigserial",
    "smallserial",
    "serial2",
    "serial4",
    "serial8",
];

/// Violations in a text of a file.
pub fn lint(place: &str, text: &[(char, usize)]) -> Vec<Finding> {
    let tokens = tokens(text);
    let mut statements = Lint {
        place,
        tokens: &tokens,
        findings: Vec::new(),
    };
    statements.forbidden();
    statements.declared();
    statements.serial();
    statements.do_blocks();
    statements.values();
    statements.assignments();
    statements.parts();
    let mut findings = statements.findings;
    // EXECUTE, DO and functions take statements as strings.
    for token in tokens.iter().filter(|t| t.kind == Kind::Text) {
        if token.inside.iter().any(|(c, _)| *c == ' ') {
            findings.extend(lint(place, &token.inside));
        }
    }
    findings
}

/// Whether an exception is declared for the place.
pub fn is_declared(list: &[Declared], name: &str) -> bool {
    list.iter().any(|declared| declared.name == name)
}

struct Lint<'a> {
    place: &'a str,
    tokens: &'a [Token],
    findings: Vec<Finding>,
}

impl Lint<'_> {
    fn report(&mut self, at: usize, rule: Rule, found: &str) {
        self.findings.push(Finding {
            place: self.place.to_owned(),
            line: self.tokens.get(at).map(|token| token.line),
            rule,
            found: found.to_owned(),
        });
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(word))
    }

    fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    /// Whether the words stand from here on.
    fn matches(&self, at: usize, words: &[&str]) -> bool {
        let Some((first, rest)) = words.split_first() else {
            return true;
        };
        if *first != "*" {
            return self.is(at, first) && self.matches(at + 1, rest);
        }
        let statement = (at..at + 7).take_while(|at| !self.is(*at, ";"));
        statement.into_iter().any(|at| self.matches(at, rest))
    }

    fn forbidden(&mut self) {
        for (pattern, rule) in FORBIDDEN {
            if *rule == Rule::Sequence && is_declared(DRAWING_MIGRATIONS, self.place) {
                continue;
            }
            let words: Vec<_> = pattern.split(' ').collect();
            for at in 0..self.tokens.len() {
                if self.matches(at, &words) {
                    self.report(at, *rule, &pattern.to_uppercase());
                }
            }
        }
    }

    /// Functions and columns that only declared files use.
    fn declared(&mut self) {
        for (at, token) in self.tokens.iter().enumerate() {
            let lock = token.text.starts_with("pg_advisory_")
                || token.text.starts_with("pg_try_advisory_");
            let rule = if token.kind != Kind::Word {
                continue;
            } else if lock && !is_declared(ADVISORY_LOCKS, self.place) {
                Rule::AdvisoryLock
            } else if FIGURES.contains(&token.text.as_str())
                && !is_declared(LOCAL_FIGURES, self.place)
            {
                Rule::LocalFigure
            } else {
                continue;
            };
            self.report(at, rule, &token.text);
        }
    }

    fn serial(&mut self) {
        let defines = |token: &Token| token.is("create") || token.is("alter");
        if !self.tokens.iter().any(defines) {
            return;
        }
        for at in 1..self.tokens.len() {
            if self.tokens[at - 1].is_name() && self.is_any(at, &SERIAL) {
                self.report(at, Rule::Sequence, &self.tokens[at].text);
            }
        }
    }

    fn do_blocks(&mut self) {
        let declared = is_declared(DO_BLOCKS, self.place) && self.place.starts_with("migrations/");
        for at in 0..self.tokens.len() {
            let begins = at == 0 || self.is(at - 1, ";");
            let body = |token: &Token| {
                matches!(token.kind, Kind::Code | Kind::Text) || token.is("language")
            };
            let has_body = self.tokens.get(at + 1).is_some_and(body);
            if begins && self.is(at, "do") && has_body && !declared {
                self.report(at, Rule::DoBlock, "DO");
            }
        }
    }

    /// Sub-selects among the rows of VALUES.
    fn values(&mut self) {
        for at in 0..self.tokens.len() {
            if !(self.is(at, "values") && self.is(at + 1, "(")) {
                continue;
            }
            let mut depth = 0;
            for inner in at + 1..self.tokens.len() {
                if self.is(inner, "(") {
                    depth += 1;
                } else if self.is(inner, ")") {
                    depth -= 1;
                } else if depth > 0 && self.is(inner, "select") {
                    self.report(inner, Rule::SelectInValues, "SELECT in VALUES");
                } else if depth < 0 || depth == 0 && !self.is(inner, ",") {
                    break;
                }
            }
        }
    }

    /// SET lists of UPDATE and DO UPDATE.
    fn assignments(&mut self) {
        for at in 0..self.tokens.len() {
            let Some(begin) = self.set_list(at) else {
                continue;
            };
            let (mut depth, mut targets) = (0_usize, true);
            let mut target_depth = 0;
            for inner in begin..self.tokens.len() {
                let token = &self.tokens[inner];
                let ends =
                    token.is(")") || self.is_any(inner, &["where", "returning", "from", ";"]);
                if ends && depth == 0 {
                    break;
                }
                match () {
                    () if token.is("(") => {
                        depth += 1;
                        target_depth = if targets { depth } else { target_depth };
                    }
                    () if token.is(")") => depth -= 1,
                    () if token.is(",") && depth == 0 => targets = true,
                    () if token.is("=") && depth == 0 => targets = false,
                    () if targets && depth <= target_depth && is_distribution(token) => {
                        self.report(inner, Rule::AgentUpdated, &format!("SET {}", token.text));
                    }
                    () => {}
                }
                if !targets && self.is_volatile(inner) {
                    self.report(inner, Rule::VolatileUpdate, &self.tokens[inner].text);
                }
            }
        }
    }

    /// Where the assignments of an UPDATE at a place begin.
    fn set_list(&self, at: usize) -> Option<usize> {
        if !self.is(at, "update") {
            return None;
        }
        let part = |at: usize| {
            let token = &self.tokens[at];
            token.is_name() || token.is(".") || token.is("*")
        };
        let end = self.tokens.len().min(at + 9);
        let set = (at + 1..end).find(|at| self.is(*at, "set") || !part(*at))?;
        self.is(set, "set").then_some(set + 1)
    }

    fn is_volatile(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        let Some(index) = VOLATILE.iter().position(|name| token.is(name)) else {
            return false;
        };
        let called = index >= WITH_PARENTHESES || self.is(at + 1, "(");
        // A column of that name is named with its table.
        called && !(at > 0 && self.is(at - 1, "."))
    }

    /// A part of a statement may come to stand in a SET list, so what is forbidden there is forbidden
    /// in it.
    fn parts(&mut self) {
        let Some(first) = self.tokens.first() else {
            return;
        };
        let text = first.text.as_str();
        if VERBS.contains(&text) || self.tokens.len() < 2 {
            return;
        }
        for at in 0..self.tokens.len() {
            let excluded = self.is(at + 1, "=") && self.is(at + 2, "excluded");
            let qualified = at > 0 && self.is(at - 1, ".");
            let listed = (0..at).any(|at| self.is(at, "update"));
            if excluded && !qualified && !listed && is_distribution(&self.tokens[at]) {
                self.report(at, Rule::AgentUpdated, "agent_id = EXCLUDED");
            } else if !listed && self.is_volatile(at) && self.is_any(at + 1, &["("]) {
                self.report(at, Rule::VolatileUpdate, &self.tokens[at].text);
            }
        }
    }
}

fn is_distribution(token: &Token) -> bool {
    token.is_name() && DISTRIBUTION.contains(&token.text.as_str())
}

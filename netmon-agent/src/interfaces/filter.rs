//! Shell patterns over interface names.

use glob::{Pattern, PatternError};

/// An interface passes if a pattern includes it and none excludes it.
#[derive(Clone, Debug)]
pub struct Filter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Filter {
    /// Compiles the patterns.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, PatternError> {
        let compile = |patterns: &[String]| -> Result<Vec<Pattern>, PatternError> {
            patterns
                .iter()
                .map(|pattern| Pattern::new(pattern))
                .collect()
        };
        Ok(Self {
            include: compile(include)?,
            exclude: compile(exclude)?,
        })
    }

    /// Whether the name passes.
    pub fn passes(&self, name: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        any(&self.include) && !any(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusion_wins_over_inclusion() {
        let filter = Filter::new(&["eth*".into(), "wg0".into()], &["eth1".into()]).unwrap();
        let passes = |name| filter.passes(name);
        assert!(passes("eth0") && passes("wg0"));
        assert!(!passes("eth1") && !passes("lo"));
    }
}

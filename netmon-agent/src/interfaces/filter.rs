//! Which interfaces are wanted: shell patterns over names, prefixes over addresses.

use std::net::IpAddr;

use glob::{Pattern, PatternError};
use ipnetwork::IpNetwork;

use super::label;
use crate::config;

/// An interface passes if a pattern includes its name, none excludes it, and, where there are
/// prefixes, one of its addresses lies in one of them.
#[derive(Clone, Debug)]
pub struct Filter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    cidr: Vec<IpNetwork>,
    /// Where the interfaces are, if not where the agent runs.
    namespace: Option<String>,
}

impl Filter {
    /// Compiles the patterns.
    pub fn new(config: &config::Interfaces) -> Result<Self, PatternError> {
        let compile = |patterns: &[String]| -> Result<Vec<Pattern>, PatternError> {
            patterns
                .iter()
                .map(|pattern| Pattern::new(pattern))
                .collect()
        };
        Ok(Self {
            include: compile(&config.include)?,
            exclude: compile(&config.exclude)?,
            cidr: config.cidr.clone(),
            namespace: None,
        })
    }

    /// The same for the interfaces of a named namespace: a pattern may match `eth0` or `eth0@blue`.
    pub fn within(self, namespace: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            ..self
        }
    }

    /// Whether an interface of this name with these addresses passes.
    pub fn passes(&self, name: &str, mut addresses: impl Iterator<Item = IpAddr>) -> bool {
        let label = label(name, self.namespace.as_deref());
        let any = |patterns: &[Pattern]| {
            let matches = |pattern: &Pattern| pattern.matches(name) || pattern.matches(&label);
            patterns.iter().any(matches)
        };
        let lies_within = |address: IpAddr| self.cidr.iter().any(|cidr| cidr.contains(address));
        any(&self.include)
            && !any(&self.exclude)
            && (self.cidr.is_empty() || addresses.any(lies_within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str], cidr: &[&str]) -> Filter {
        let own = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.into()).collect();
        Filter::new(&config::Interfaces {
            include: own(include),
            exclude: own(exclude),
            cidr: cidr.iter().map(|cidr| cidr.parse().unwrap()).collect(),
            namespaces: vec![],
        })
        .unwrap()
    }

    #[test]
    fn exclusion_wins_over_inclusion() {
        let filter = filter(&["eth*", "wg0"], &["eth1"], &[]);
        let passes = |name| filter.passes(name, std::iter::empty());
        assert!(passes("eth0") && passes("wg0"));
        assert!(!passes("eth1") && !passes("lo"));
    }

    #[test]
    fn an_interface_elsewhere_is_known_by_both_its_names() {
        for (include, exclude, expected) in [
            (&["*"][..], &["lo"][..], true),
            (&["eth*"], &[], true),
            (&["*@blue"], &[], true),
            (&["*@red"], &[], false),
            (&["*"], &["eth0"], false),
            (&["*"], &["*@blue"], false),
        ] {
            let filter = filter(include, exclude, &[]).within("blue");
            let passes = filter.passes("eth0", std::iter::empty());
            assert_eq!(passes, expected, "{include:?} {exclude:?}");
        }
        assert!(!filter(&["*@blue"], &[], &[]).passes("eth0", std::iter::empty()));
    }

    #[test]
    fn one_address_in_one_prefix_is_enough() {
        let filter = filter(&["*"], &["lo"], &["198.18.0.0/15", "2001:db8::/32"]);
        for (name, addresses, expected) in [
            ("eth0", &[][..], false),
            ("eth0", &["192.0.2.1"], false),
            ("eth0", &["192.0.2.1", "198.19.255.255"], true),
            ("eth0", &["2001:db8::1"], true),
            ("eth0", &["2001:db9::1"], false),
            ("lo", &["198.18.0.1"], false),
        ] {
            let addresses = addresses.iter().map(|address| address.parse().unwrap());
            let shown = format!("{name} {addresses:?}");
            assert_eq!(filter.passes(name, addresses), expected, "{shown}");
        }
    }
}

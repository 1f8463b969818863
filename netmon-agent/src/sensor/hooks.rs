//! Where the programs are to be attached, as the operator says.

use glob::{Pattern, PatternError};
use serde::{Deserialize, Serialize};

/// The hook of the classifiers: `sensor.hook`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// TCX where the kernel has it, classic filters elsewhere.
    #[default]
    Auto,
    /// TCX links only.
    Tcx,
    /// Classic filters only.
    Clsact,
}

/// Everything that decides where the programs go.
#[derive(Clone, Debug)]
pub struct Hooks {
    /// Of the classifiers.
    pub hook: Hook,
    /// Of the classic filters; lower ones run first.
    pub filter_priority: u16,
    /// Interfaces whose ingress is counted by XDP.
    pub xdp: Vec<Pattern>,
    /// Whether XDP's generic mode will do where the driver has no native one.
    pub xdp_generic: bool,
}

impl Hooks {
    /// With shell patterns over the names of the interfaces with XDP.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn new(
        hook: Hook,
        filter_priority: u16,
        xdp: &[String],
        xdp_generic: bool,
    ) -> Result<Self, PatternError> {
        Ok(Self {
            hook,
            filter_priority,
            xdp: xdp
                .iter()
                .map(|pattern| Pattern::new(pattern))
                .collect::<Result<_, _>>()?,
            xdp_generic,
        })
    }

    /// Whether the interface of this name is to have XDP.
    pub fn wants_xdp(&self, interface: &str) -> bool {
        self.xdp.iter().any(|pattern| pattern.matches(interface))
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            hook: Hook::Auto,
            filter_priority: 1,
            xdp: Vec::new(),
            xdp_generic: false,
        }
    }
}

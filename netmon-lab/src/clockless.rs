//! Programs that may do everything but set the clock: time daemons without a setting for that.

use std::{path::Path, process::Command};

use crate::Namespace;

/// A command that will run `program` as root inside `place` without `CAP_SYS_TIME`, which no network
/// namespace confines.
#[must_use]
pub fn command(place: &Namespace, program: &Path) -> Command {
    let mut command = place.command("setpriv");
    command.args(WITHOUT_CLOCK).arg(program);
    command
}

/// Of setpriv(1), before the program.
pub(crate) const WITHOUT_CLOCK: [&str; 4] =
    ["--bounding-set", "-sys_time", "--inh-caps", "-sys_time"];

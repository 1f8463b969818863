//! What netmon needs on a machine, and what for.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, anyhow, bail};
use netmon_lab::{programs, run};

use crate::toolchain;

/// Something that must be on the machine.
pub struct Need {
    /// What people call it.
    pub name: &'static str,
    /// Completes "needed because it …".
    pub why: &'static str,
    /// Says what was found, or what is wrong.
    pub check: fn() -> Result<String>,
    /// How it comes onto the machine.
    pub remedy: Remedy,
}

/// How a need is met.
#[derive(Clone, Copy, Debug)]
pub enum Remedy {
    /// The pinned nightly compiler, or the source of core for one that is there.
    Nightly,
    /// A component of the stable compiler.
    Component(&'static str),
    /// A program from crates.io.
    Cargo {
        /// The crate.
        package: &'static str,
        /// The release that is known to work.
        version: &'static str,
    },
    /// A package of the system.
    Package(&'static str),
    /// A package of the system whose installation would start a service or remove another one:
    /// unpacked under `target/tools` instead.
    Unpacked(&'static str),
    /// The same, in a directory of its own (`target/tools/PACKAGE`): others have files of the same
    /// names.
    UnpackedApart(&'static str),
}

impl Remedy {
    /// The command that meets the need.
    pub fn shown(self) -> String {
        match self {
            Self::Nightly => format!(
                "rustup toolchain install {} --profile minimal --component rust-src",
                toolchain::PINNED
            ),
            Self::Component(name) => format!("rustup component add {name}"),
            Self::Cargo { package, version } => {
                format!("cargo install --locked --version ={version} {package}")
            }
            Self::Package(name) => format!("apt-get install {name}"),
            Self::Unpacked(name) => unpacking(name, "target/tools"),
            Self::UnpackedApart(name) => unpacking(name, &format!("target/tools/{name}")),
        }
    }
}

fn unpacking(package: &str, directory: &str) -> String {
    format!(
        "apt-get download {package} && dpkg-deb -x {package}_*.deb {directory} (not installed, so \
         that no service is started or replaced)"
    )
}

/// Where busybox lies among the unpacked tools.
pub const BUSYBOX: &str = "bin/busybox";

/// To compile.
pub const BUILD: &[Need] = &[
    Need {
        name: "nightly Rust with rust-src",
        why: "compiles the kernel programs, for a target that stable Rust does not have",
        check: nightly,
        remedy: Remedy::Nightly,
    },
    Need {
        name: "bpf-linker",
        why: "links the kernel programs",
        check: bpf_linker,
        remedy: Remedy::Cargo {
            package: "bpf-linker",
            version: toolchain::BPF_LINKER,
        },
    },
];

/// To run server and agent.
pub const RUN: &[Need] = &[Need {
    name: "PostgreSQL 15 or newer",
    why: "stores what the agents send; the server runs a cluster of its own with its programs",
    check: postgresql,
    remedy: Remedy::Package("postgresql"),
}];

/// To run the demonstration network.
pub const DEMO: &[Need] = &[
    Need {
        name: "iproute2",
        why: "lays the virtual cables of the demonstration network and of the tests",
        check: || found("ip"),
        remedy: Remedy::Package("iproute2"),
    },
    Need {
        name: "chrony",
        why: "is the NTP server and client of the demonstration network and of the tests",
        check: || answers("chronyd", "--version"),
        remedy: Remedy::Unpacked("chrony"),
    },
];

/// To run the tests, besides all above.
pub const TEST: &[Need] = &[
    Need {
        name: "cargo-nextest",
        why: "runs the tests, each in a process of its own",
        check: || cargo_program("nextest"),
        remedy: Remedy::Cargo {
            package: "cargo-nextest",
            version: "0.9.143",
        },
    },
    Need {
        name: "psql",
        why: "looks into the database in the tests",
        check: || answers("psql", "--version"),
        remedy: Remedy::Package("postgresql-client"),
    },
    Need {
        name: "tcpdump",
        why: "is compared with the sensor in the tests",
        check: || found("tcpdump"),
        remedy: Remedy::Package("tcpdump"),
    },
    Need {
        name: "ping",
        why: "makes traffic in the tests",
        check: || found("ping"),
        remedy: Remedy::Package("iputils-ping"),
    },
    Need {
        name: "setpriv",
        why: "runs the sensor with two capabilities only in the tests",
        check: || found("setpriv"),
        remedy: Remedy::Package("util-linux"),
    },
    Need {
        name: "Python 3",
        why: "runs ntplib and ntpq in the tests",
        check: || answers("python3", "--version"),
        remedy: Remedy::Package("python3"),
    },
    Need {
        name: "chronyc",
        why: "says what chrony has counted in the tests",
        check: || answers("chronyc", "--version"),
        remedy: Remedy::Unpacked("chrony"),
    },
    Need {
        name: "NTPsec",
        why: "is an NTP server and client in the tests",
        check: || apart("ntpsec", "usr/sbin/ntpd"),
        remedy: Remedy::UnpackedApart("ntpsec"),
    },
    Need {
        name: "Python package of NTPsec",
        why: "is what ntpq consists of, which asks in mode 6 in the tests",
        check: || apart("python3-ntp", "usr/lib/python3/dist-packages/ntp"),
        remedy: Remedy::UnpackedApart("python3-ntp"),
    },
    Need {
        name: "OpenNTPD",
        why: "is an NTP server and client in the tests",
        check: || apart("openntpd", "usr/sbin/ntpd"),
        remedy: Remedy::UnpackedApart("openntpd"),
    },
    Need {
        name: "ntplib",
        why: "is an NTP client in the tests",
        check: || {
            let module = "usr/lib/python3/dist-packages/ntplib.py";
            apart("python3-ntplib", module)
        },
        remedy: Remedy::UnpackedApart("python3-ntplib"),
    },
    Need {
        name: "Prometheus",
        why: "scrapes agent and server in the tests",
        check: || answers("prometheus", "--version"),
        remedy: Remedy::Unpacked("prometheus"),
    },
    Need {
        name: "promtool",
        why: "checks the metrics in the tests",
        check: || answers("promtool", "--version"),
        remedy: Remedy::Unpacked("prometheus"),
    },
];

/// To run the live suite on another kernel.
pub const VM: &[Need] = &[
    Need {
        name: "qemu",
        why: "is the virtual machine in which another kernel runs",
        check: || answers("qemu-system-x86_64", "--version"),
        remedy: Remedy::Package("qemu-system-x86"),
    },
    Need {
        name: "busybox",
        why: "is the first program in the virtual machine, before the host's files are there",
        check: busybox,
        remedy: Remedy::Unpacked("busybox-static"),
    },
];

/// To compare the sensor with others, in `bench sensor`. Installing these would start services.
pub const SENSORS: &[Need] = &[
    Need {
        name: "iproute2",
        why: "lays the virtual cable between sender and sensors",
        check: || found("ip"),
        remedy: Remedy::Package("iproute2"),
    },
    Need {
        name: "setpriv",
        why: "runs the sensor with two capabilities only",
        check: || found("setpriv"),
        remedy: Remedy::Package("util-linux"),
    },
    Need {
        name: "tcpdump",
        why: "is compared with the sensor",
        check: || found("tcpdump"),
        remedy: Remedy::Package("tcpdump"),
    },
    Need {
        name: "softflowd",
        why: "is compared with the sensor",
        check: || found("softflowd"),
        remedy: Remedy::Unpacked("softflowd"),
    },
    Need {
        name: "pmacct",
        why: "is compared with the sensor",
        check: || answers("pmacctd", "-V"),
        remedy: Remedy::Unpacked("pmacct"),
    },
];

/// To compare the agent with them, in `bench ntp`.
pub const DECODERS: &[Need] = &[
    Need {
        name: "iproute2",
        why: "lays the virtual cable between sender and agent",
        check: || found("ip"),
        remedy: Remedy::Package("iproute2"),
    },
    Need {
        name: "setpriv",
        why: "runs the agent with two capabilities only",
        check: || found("setpriv"),
        remedy: Remedy::Package("util-linux"),
    },
    Need {
        name: "psql",
        why: "counts what was stored",
        check: || answers("psql", "--version"),
        remedy: Remedy::Package("postgresql-client"),
    },
    Need {
        name: "tcpdump",
        why: "writes the packets that the agent pairs",
        check: || found("tcpdump"),
        remedy: Remedy::Package("tcpdump"),
    },
    Need {
        name: "tshark",
        why: "decodes what tcpdump has written",
        check: || answers("tshark", "--version"),
        remedy: Remedy::Package("tshark"),
    },
];

/// To judge the source.
pub const LINT: &[Need] = &[
    Need {
        name: "rustfmt",
        why: "checks the formatting",
        check: || cargo_program("fmt"),
        remedy: Remedy::Component("rustfmt"),
    },
    Need {
        name: "clippy",
        why: "checks the code for known mistakes",
        check: || cargo_program("clippy"),
        remedy: Remedy::Component("clippy"),
    },
    Need {
        name: "cargo-deny",
        why: "checks licences and sources of the dependencies",
        check: || cargo_program("deny"),
        remedy: Remedy::Cargo {
            package: "cargo-deny",
            version: "0.20.2",
        },
    },
];

fn nightly() -> Result<String> {
    let nightly = toolchain::nightly()?;
    if !toolchain::has_rust_src(&nightly)? {
        bail!("{nightly} has no rust-src");
    }
    Ok(format!("{nightly}, LLVM {}", toolchain::LLVM_MAJOR))
}

fn bpf_linker() -> Result<String> {
    let found = answers("bpf-linker", "--version")?;
    let expected = format!("bpf-linker {}", toolchain::BPF_LINKER);
    if found != expected {
        bail!("{found} is installed, {expected} is known to work");
    }
    Ok(found)
}

/// Asks `postgres` of the newest version for its own: Debian keeps the versions apart.
fn postgresql() -> Result<String> {
    const OLDEST: u32 = 15;
    let mut newest: Option<(u32, PathBuf)> = None;
    let candidates = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin/postgres"))
        .filter(|program| program.exists())
        .chain(programs::find("postgres").ok());
    for program in candidates {
        let initdb = program.with_file_name("initdb");
        if let Some(major) = postgresql_major(&program).filter(|_| initdb.exists()) {
            newest = newest.max(Some((major, program)));
        }
    }
    let (major, program) = newest.context("postgres and initdb are not installed")?;
    if major < OLDEST {
        bail!(
            "version {major} is too old: https://apt.postgresql.org has newer ones for this system"
        );
    }
    Ok(format!("{major} ({})", program.display()))
}

fn postgresql_major(program: &PathBuf) -> Option<u32> {
    let version = run(Command::new(program).arg("--version")).ok()?;
    let number = version.rsplit_once("(PostgreSQL) ")?.1;
    let digits = number.split(|other: char| !other.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The unpacked one: that of the system may need libraries.
fn busybox() -> Result<String> {
    let path = programs::unpacked_tools()
        .map(|tools| tools.join(BUSYBOX))
        .filter(|path| path.exists())
        .context("there is no program busybox without libraries")?;
    Ok(path.display().to_string())
}

/// What was unpacked in a directory of its own.
fn apart(package: &str, path: &str) -> Result<String> {
    let file = programs::of_package(package, path);
    let file = file.map_err(|_| anyhow!("the package {package} is not unpacked"))?;
    Ok(file.display().to_string())
}

fn found(program: &str) -> Result<String> {
    Ok(locate(program)?.display().to_string())
}

/// The first line a program says about itself: it can be run, not only be found.
fn answers(program: &str, question: &str) -> Result<String> {
    let path = locate(program)?;
    let answer = run(Command::new(path).arg(question))?;
    Ok(answer.lines().next().unwrap_or_default().trim().to_owned())
}

fn locate(program: &str) -> Result<PathBuf> {
    programs::find(program).map_err(|_| anyhow!("there is no program {program}"))
}

fn cargo_program(name: &str) -> Result<String> {
    let answer = run(Command::new("cargo").args([name, "--version"]))
        .map_err(|_| anyhow!("`cargo {name}` is not installed"))?;
    Ok(answer.lines().next().unwrap_or_default().trim().to_owned())
}

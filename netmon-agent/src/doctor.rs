//! `netmon-agent doctor`: what this host has and lacks, a line each with the remedy.

use std::process::ExitCode;

use nix::sys::utsname::uname;
use tokio::runtime::Handle;

use crate::{
    clock,
    config::Config,
    interfaces::{Filter, Netns, NetnsId, Table, Watch, netns_names},
    run::OpenError,
    sensor::{Hook, Sensor},
    uplink::{Identity, probe},
};

/// Capability numbers of linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;
/// `bpf_ktime_get_tai_ns` came with 6.1, commit c8996c98f703.
const LEAST_KERNEL: (u32, u32) = (6, 1);

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    Good(String),
    /// Works, but the operator should know.
    Notice(String),
    /// What is wrong, and the remedy.
    Bad(String, &'static str),
}

/// Runs all checks; fails if one of them is bad.
pub fn main(config: &Config) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("netmon-agent: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let findings = runtime.block_on(examine(config));
    let mut failed = false;
    for (subject, finding) in findings {
        match finding {
            Finding::Good(text) => println!("ok      {subject}: {text}"),
            Finding::Notice(text) => println!("notice  {subject}: {text}"),
            Finding::Bad(text, remedy) => {
                failed = true;
                println!("FAIL    {subject}: {text}; {remedy}");
            }
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

async fn examine(config: &Config) -> Vec<(&'static str, Finding)> {
    let mut findings = vec![
        ("kernel", kernel()),
        ("capabilities", capabilities(config)),
        ("BTF", btf()),
        ("programs", programs(config)),
        ("hook", hook(config)),
        ("interfaces", interfaces(config).await),
        ("clock", clock_state()),
        ("namespaces", namespaces(config).await),
        ("status", status_socket(config)),
    ];
    let identity = Identity::new(&config.server.identity);
    match identity.load() {
        Ok(_) => {
            findings.push((
                "identity",
                Finding::Good(config.server.identity.display().to_string()),
            ));
            for address in &config.server.addresses {
                findings.push(("server", server(address, &identity).await));
            }
        }
        Err(error) => findings.push((
            "identity",
            Finding::Bad(
                error.to_string(),
                "copy the folder to this host and set server.identity",
            ),
        )),
    }
    findings
}

async fn server(address: &str, identity: &Identity) -> Finding {
    match probe(address, identity).await {
        Ok(()) => Finding::Good(format!("{address} accepts this identity")),
        Err(error) => Finding::Bad(
            format!("{address}: {error}"),
            "start netmon-server there, open its UDP port, and check that it issued this identity",
        ),
    }
}

fn kernel() -> Finding {
    let Ok(name) = uname() else {
        return Finding::Notice("the kernel does not say its version".into());
    };
    let release = name.release().to_string_lossy().into_owned();
    match version(&release) {
        Some(version) if version < LEAST_KERNEL => Finding::Bad(
            format!("Linux {release} cannot give packets the wall clock's time"),
            "run Linux 6.1 or newer",
        ),
        _ => Finding::Good(format!("Linux {release}")),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn capabilities(config: &Config) -> Finding {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = effective_capabilities(&status).unwrap_or(0);
    let has = |number: u32| effective & (1 << number) != 0;
    let enters = !config.interfaces.namespaces.is_empty();
    match (has(CAP_BPF), has(CAP_NET_ADMIN)) {
        (true, true) if enters && !has(CAP_SYS_ADMIN) => Finding::Bad(
            "CAP_SYS_ADMIN is missing, and interfaces.namespaces needs it".into(),
            "add it to AmbientCapabilities, or take the names out",
        ),
        (true, true) if enters => Finding::Good("CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN".into()),
        (true, true) => Finding::Good("CAP_BPF and CAP_NET_ADMIN".into()),
        (bpf, net_admin) => Finding::Bad(
            match (bpf, net_admin) {
                (true, _) => "CAP_NET_ADMIN is missing",
                (_, true) => "CAP_BPF is missing",
                _ => "CAP_BPF and CAP_NET_ADMIN are missing",
            }
            .into(),
            "run as root, or give the service AmbientCapabilities=CAP_BPF CAP_NET_ADMIN",
        ),
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn btf() -> Finding {
    match std::fs::metadata("/sys/kernel/btf/vmlinux") {
        Ok(_) => Finding::Good("/sys/kernel/btf/vmlinux".into()),
        // The programs use no kernel structures, so nothing depends on it yet.
        Err(_) => Finding::Notice("the kernel carries no BTF (CONFIG_DEBUG_INFO_BTF)".into()),
    }
}

fn programs(config: &Config) -> Finding {
    match Sensor::load(config.sensor.ring_bytes, false, None) {
        Ok(_) => Finding::Good("the kernel takes them".into()),
        Err(error) => Finding::Bad(
            // Without what the verifier has thought: thousands of lines.
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
            "fix the kernel and capabilities above; on a kernel that docs/hooks.md does not name, \
             try CAP_PERFMON besides; kernel.unprivileged_bpf_disabled does not matter",
        ),
    }
}

/// Which hook the programs will have, and why.
fn hook(config: &Config) -> Finding {
    let sensor = &config.sensor;
    let has_tcx = match Sensor::has_tcx() {
        Ok(has_tcx) => has_tcx,
        Err(error) => {
            return Finding::Notice(format!(
                "the kernel does not say whether it has TCX ({error}): `netmon-agent run` will try"
            ));
        }
    };
    let classic = "classic filters in a clsact qdisc";
    let pins = if sensor.pin {
        "; sensor.pin has no effect with these"
    } else {
        ""
    };
    match (sensor.hook, has_tcx) {
        (Hook::Tcx, false) => Finding::Bad(
            "sensor.hook = \"tcx\", and the kernel has no TCX".into(),
            "set sensor.hook = \"auto\", or run Linux 6.6 or newer",
        ),
        (Hook::Auto, false) => Finding::Notice(format!(
            "{classic}, since the kernel has no TCX (Linux 6.6){pins}"
        )),
        (Hook::Clsact, _) => {
            Finding::Notice(format!("{classic}, since sensor.hook = \"clsact\"{pins}"))
        }
        (Hook::Auto | Hook::Tcx, true) if sensor.xdp.is_empty() => {
            Finding::Good("TCX, which the kernel has".into())
        }
        (Hook::Auto | Hook::Tcx, true) => Finding::Good(format!(
            "TCX, which the kernel has; ingress of {} by XDP where the driver can",
            sensor.xdp.join(", ")
        )),
    }
}

async fn interfaces(config: &Config) -> Finding {
    let remedy = "set interfaces.include, interfaces.exclude and interfaces.cidr";
    let filter = match Filter::new(&config.interfaces) {
        Ok(filter) => filter,
        Err(error) => return Finding::Bad(error.to_string(), remedy),
    };
    let listed = match Watch::open(config.interfaces.minds_addresses()) {
        Ok(watch) => watch.dump().await,
        Err(error) => Err(error),
    };
    let mut table = Table::new(filter);
    match listed {
        Ok(all) => drop(table.observe(all)),
        Err(error) => return Finding::Bad(error.to_string(), "allow AF_NETLINK sockets"),
    }
    let wanted = table.wanted();
    let names = wanted
        .map(|interface| interface.name.as_str())
        .collect::<Vec<_>>();
    if names.is_empty() {
        Finding::Bad(
            format!("none of {} is up and passes the filter", table.present()),
            remedy,
        )
    } else {
        Finding::Good(names.join(", "))
    }
}

/// Other network namespaces than the agent's: those it is to watch, and those it could.
async fn namespaces(config: &Config) -> Finding {
    let (mut watched, mut absent) = (Vec::new(), Vec::new());
    for name in &config.interfaces.namespaces {
        if NetnsId::named(name).is_none() {
            absent.push(name.as_str());
            continue;
        }
        match listed_in(config, name).await {
            Ok(interfaces) => watched.push(format!("{name} ({interfaces})")),
            Err(error) => {
                return Finding::Bad(
                    error.to_string(),
                    "the other namespaces and interfaces are watched all the same",
                );
            }
        }
    }
    let others = netns_names().into_iter();
    let others: Vec<String> = others
        .filter(|name| !config.interfaces.namespaces.contains(name))
        .collect();
    let mut sentences = Vec::new();
    if !watched.is_empty() {
        sentences.push(format!("watching {} too", watched.join(", ")));
    }
    if !absent.is_empty() {
        sentences.push(format!("{} will be watched once there", absent.join(", ")));
    }
    if !others.is_empty() {
        sentences.push(format!(
            "interfaces.namespaces has the agent watch {} too, with CAP_SYS_ADMIN",
            others.join(", ")
        ));
    }
    match (sentences.is_empty(), absent.is_empty() && others.is_empty()) {
        (true, _) => Finding::Good("no network namespace has a name".into()),
        (false, true) => Finding::Good(sentences.join("; ")),
        (false, false) => Finding::Notice(sentences.join("; ")),
    }
}

/// The interfaces that would be watched in a namespace.
async fn listed_in(config: &Config, name: &str) -> Result<String, OpenError> {
    let entry = |error| OpenError::entry(name, error);
    let (netns, _) = Netns::open(name).map_err(entry)?;
    let runtime = Handle::current();
    let open = || {
        let _runtime = runtime.enter();
        Watch::open(config.interfaces.minds_addresses())
    };
    let watch = netns.inside(open).map_err(entry)??;
    let mut table = Table::new(Filter::new(&config.interfaces)?.within(name));
    table.observe(watch.dump().await?);
    let wanted = table.wanted().map(|interface| interface.name.as_str());
    let names: Vec<&str> = wanted.collect();
    Ok(if names.is_empty() {
        "no interface that is up and passes the filter".to_owned()
    } else {
        names.join(", ")
    })
}

/// Whether the agent that runs will have, or has, a place for its socket.
fn status_socket(config: &Config) -> Finding {
    match config.status_socket() {
        Some(path) => Finding::Good(format!("netmon-agent status asks at {}", path.display())),
        None => Finding::Notice(
            "there is no socket for netmon-agent status: set status.socket to a path".into(),
        ),
    }
}

fn clock_state() -> Finding {
    let state = clock::synchronisation();
    if state.synchronised {
        let error_ms = state.maximum_error_us as f64 / 1000.0;
        Finding::Good(format!("synchronised, error at most {error_ms} ms"))
    } else {
        Finding::Notice(
            "not synchronised: offsets of NTP servers will say so; run a time daemon".into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_understood() {
        for (release, expected) in [
            ("6.18.44-fc", Some((6, 18))),
            ("6.1.0-21-amd64", Some((6, 1))),
            ("7.0", Some((7, 0))),
            ("odd", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn effective_capabilities_are_read() {
        let status = "Name:\tx\nCapPrm:\t0\nCapEff:\t0000008000001000\n";
        let effective = effective_capabilities(status).unwrap();
        assert_eq!(effective, 1 << CAP_BPF | 1 << CAP_NET_ADMIN);
    }
}

//! Interfaces of named network namespaces beside those where the agent runs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::programs::{SchedClassifier, TcAttachType};
use netmon_lab::{
    InterfaceStatistics, Mount, Mounts, Namespace,
    link::{add_address, ip_line},
    privileges, run, traffic, wait_until,
};

use crate::{
    bandwidth::exchange_traffic,
    flows::sum,
    hooks::tc,
    interfaces::open_descriptors,
    site::{METRICS, Site, has_tcx},
    status::{json, status},
};

/// Long: a namespace is watched once the kernel has verified its programs, a second or more of work.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// All interfaces have the same name and index, each in its own namespace.
pub const INSIDE: &str = "eth0";
const INDEX: &str = "700";

/// A site whose agent may enter namespaces and sees names of them of its own.
pub fn visiting() -> Result<Site> {
    let mut site = Site::with_server()?;
    site.capabilities = privileges::OF_A_VISITOR;
    let run_directory = Mount {
        kind: "tmpfs",
        options: "mode=0755",
        at: std::path::Path::new("/run"),
    };
    let mounts = Mounts::new(&site.namespace, &[run_directory])?;
    run(mounts.command("mkdir").arg("/run/netns"))?;
    site.mounts = Some(mounts);
    site.agent_environment
        .push(("NETMON_AGENT__FLOWS__DRAIN_INTERVAL", "300ms"));
    Ok(site)
}

/// Words for `ip` where the names are.
pub fn ip(site: &Site, words: &[&str]) -> Result<()> {
    let mounts = site.mounts.as_ref().context("names are somewhere")?;
    run(mounts.command("ip").args(words)).map(drop)
}

/// Gives a namespace a name, as `ip netns` does.
pub fn give_name(site: &Site, name: &str, namespace: &Namespace) -> Result<()> {
    let mounts = site.mounts.as_ref().context("names are somewhere")?;
    let script = "touch /run/netns/$1 && mount --bind $2 /run/netns/$1";
    let mut command = mounts.command("sh");
    command.args(["-c", script, "name", name]);
    run(command.arg(namespace.path())).map(drop)
}

/// A cable from the site to a namespace; the site's end has the address ending in `.1`.
pub fn cable(site: &Site, end: &str, inside: &Namespace, network: &str) -> Result<()> {
    let path = site.namespace.path();
    let path = path.to_str().context("a plain path")?;
    let pair = [
        "link", "add", INSIDE, "index", INDEX, "type", "veth", "peer", "name", end, "netns", path,
    ];
    ip_line(inside, &pair)?;
    for (place, name, last) in [(&site.namespace, end, 1), (inside, INSIDE, 2)] {
        ip_line(place, &["link", "set", name, "addrgenmode", "none"])?;
        ip_line(place, &["link", "set", name, "up"])?;
        add_address(place, name, &format!("{network}.{last}/24"))?;
    }
    Ok(())
}

/// A namespace with a name and a cable.
pub fn named(site: &Site, name: &str, network: &str) -> Result<Namespace> {
    let namespace = Namespace::new()?;
    cable(site, &format!("nm-{name}"), &namespace, network)?;
    give_name(site, name, &namespace)?;
    Ok(namespace)
}

pub fn interfaces_watched(site: &Site, count: f64) -> Result<()> {
    let watched = || site.metric(METRICS, "netmon_agent_interfaces_watched").ok();
    wait_until(PATIENCE, "so many interfaces to be watched", || {
        (watched()? == count).then_some(())
    })
    .with_context(|| format!("{:?} of {count}\n{}", watched(), site.log("agent.log")))
}

fn namespace_is_watched(site: &Site, name: &str, is_watched: bool) -> Result<()> {
    let series = format!("netmon_agent_namespace_watched{{namespace=\"{name}\"}}");
    let value = f64::from(u8::from(is_watched));
    wait_until(PATIENCE, "the namespace to come or go", || {
        (site.metric(METRICS, &series).ok()? == value).then_some(())
    })
    .with_context(|| site.log("agent.log"))
}

/// Packets and bytes of both directions: the kernel's own.
fn of_the_kernel(place: &Namespace, interface: &str) -> Result<Vec<u64>> {
    let s = InterfaceStatistics::read(place, interface)?;
    Ok(vec![s.rx_packets, s.rx_bytes, s.tx_packets, s.tx_bytes])
}

/// The same as the database sums it.
fn of_the_database(site: &Site, label: &str) -> Result<Vec<u64>> {
    site.sql_numbers(&format!(
        "select coalesce(sum(ingress_packets), 0), coalesce(sum(ingress_bytes), 0), \
         coalesce(sum(egress_packets), 0), coalesce(sum(egress_bytes), 0) \
         from bandwidth_samples where interface = '{label}'"
    ))
}

/// How many programs hang on the interface, ingress and egress.
fn attached(place: &Namespace) -> Result<[usize; 2]> {
    let count = |direction, name| -> Result<usize> {
        let links = || Ok(SchedClassifier::query_tcx(INSIDE, direction)?.1.len());
        // Where the kernel has no TCX, nothing hangs there.
        let links = place.run_inside(links).unwrap_or(0);
        let filters = tc(place, &["filter", "show", "dev", INSIDE, name])?;
        Ok(links + filters.matches("netmon-").count())
    };
    Ok([
        count(TcAttachType::Ingress, "ingress")?,
        count(TcAttachType::Egress, "egress")?,
    ])
}

#[test]
fn counters_equal_sysfs_inside_and_equal_indices_do_not_mix() -> Result<()> {
    let mut site = visiting()?;
    let blue = named(&site, "blue", "198.18.0")?;
    let red = named(&site, "red", "198.18.1")?;
    // The site has an interface of the same name and index besides.
    let peer = Namespace::new()?;
    let path = peer.path();
    let path = path.to_str().context("a plain path")?;
    let pair = [
        "link", "add", INSIDE, "index", INDEX, "type", "veth", "peer", "name", "nm-b", "netns",
        path,
    ];
    ip_line(&site.namespace, &pair)?;
    for (place, name, address) in [
        (&site.namespace, INSIDE, "198.18.2.1/24"),
        (&peer, "nm-b", "198.18.2.2/24"),
    ] {
        ip_line(place, &["link", "set", name, "addrgenmode", "none"])?;
        ip_line(place, &["link", "set", name, "up"])?;
        add_address(place, name, address)?;
    }
    let arguments = [
        "--interface-namespace",
        "blue",
        "--interface-namespace",
        "red",
        "--include",
        INSIDE,
    ];
    site.start_agent(&arguments)?;
    interfaces_watched(&site, 3.0)?;
    exchange_traffic(&site.namespace, &blue)?;
    traffic::ping(&red, "198.18.1.1".parse()?, 30, 56)?;
    traffic::ping(&peer, "198.18.2.1".parse()?, 70, 56)?;
    let home = site.namespace.clone();
    let places = [(&blue, "eth0@blue"), (&red, "eth0@red"), (&home, INSIDE)];
    for (place, label) in places {
        let kernel = of_the_kernel(place, INSIDE)?;
        let packets = kernel[0] + kernel[2];
        wait_until(PATIENCE, "the books to balance", || {
            let of = |family| sum(&site, family, &format!("interface=\"{label}\"")).ok();
            let flows = of("flow_packets_total")? + of("flow_untracked_packets_total")?;
            let counted = of("interface_packets_total")?;
            (flows == packets && counted == packets).then_some(())
        })
        .with_context(|| format!("{label}: {packets} packets\n{}", site.log("agent.log")))?;
    }
    let shown = site.rest(&format!("/api/v1/agents/{}/interfaces", site.agent_id))?;
    let shown = shown.to_string();
    assert!(shown.contains("\"eth0@blue\""), "{shown}");
    site.stop_agent()?;
    for (place, label) in places {
        let kernel = of_the_kernel(place, INSIDE)?;
        assert!(kernel[0] >= 30, "{label}: {kernel:?}");
        assert_eq!(of_the_database(&site, label)?, kernel, "{label}");
        assert_eq!(attached(place)?, [0, 0], "{label}");
    }
    let wrong = "select count(*) from interfaces where monitored";
    assert_eq!(site.sql_numbers(wrong)?, [0]);
    Ok(())
}

#[test]
fn a_namespace_that_is_deleted_and_made_anew_is_another_one() -> Result<()> {
    let mut site = visiting()?;
    // Only its own interfaces, and both ends of each cable there.
    site.start_agent(&["--interface-namespace", "blue", "--include", "*@blue"])?;
    namespace_is_watched(&site, "blue", false)?;
    let agent = site.agent.as_ref().context("an agent runs")?.id();
    let descriptors = open_descriptors(agent)?;
    for round in 1..=3 {
        ip(&site, &["netns", "add", "blue"])?;
        let outside = site.namespace.path();
        let outside = outside.to_str().context("a plain path")?;
        // An index beyond the counters' array.
        let pair = [
            "-n", "blue", "link", "add", INSIDE, "index", "5000", "type", "veth",
        ];
        let peer = ["peer", "name", "nm-out", "netns", outside];
        ip(&site, &[&pair[..], &peer].concat())?;
        ip(&site, &["-n", "blue", "link", "set", INSIDE, "up"])?;
        ip(
            &site,
            &[
                "-n",
                "blue",
                "address",
                "add",
                "198.18.0.2/24",
                "dev",
                INSIDE,
            ],
        )?;
        ip_line(&site.namespace, &["link", "set", "nm-out", "up"])?;
        add_address(&site.namespace, "nm-out", "198.18.0.1/24")?;
        namespace_is_watched(&site, "blue", true)?;
        interfaces_watched(&site, 1.0)?;
        traffic::ping(&site.namespace, "198.18.0.2".parse()?, 20, 56)?;
        ip(&site, &["netns", "delete", "blue"])?;
        namespace_is_watched(&site, "blue", false)?;
        interfaces_watched(&site, 0.0)?;
        // The kernel takes the cable away with the namespace's last user.
        wait_until(PATIENCE, "the namespace to end", || {
            let left = ip_line(&site.namespace, &["link", "show", "nm-out"]);
            left.is_err().then_some(())
        })
        .with_context(|| format!("round {round}"))?;
        wait_until(PATIENCE, "the file descriptors to be closed", || {
            (open_descriptors(agent).ok()? <= descriptors).then_some(())
        })
        .with_context(|| format!("{descriptors} before, {:?} now", open_descriptors(agent)))?;
    }
    wait_until(PATIENCE, "the counters to be removed", || {
        (site.metric(METRICS, "netmon_agent_map_entries").ok()? == 0.0).then_some(())
    })?;
    wait_until(PATIENCE, "the server to know", || {
        let known = site.sql("select name, monitored from interfaces").ok()?;
        (known == "eth0@blue|f").then_some(())
    })?;
    site.stop_agent()?;
    let packets = site.sql_numbers(
        "select count(distinct attachment), (select sum(ingress_packets) from bandwidth_samples) \
         from bandwidth_stats",
    )?;
    assert_eq!(packets[0], 3, "an attachment each");
    assert!(packets[1] >= 60, "{packets:?}");
    Ok(())
}

#[test]
fn a_name_that_goes_while_somebody_lives_there_is_let_go() -> Result<()> {
    let mut site = visiting()?;
    let blue = named(&site, "blue", "198.18.0")?;
    site.start_agent(&["--interface-namespace", "blue"])?;
    interfaces_watched(&site, 2.0)?;
    assert_eq!(attached(&blue)?, [1, 1]);
    ip(&site, &["netns", "delete", "blue"])?;
    interfaces_watched(&site, 1.0)?;
    assert_eq!(attached(&blue)?, [0, 0]);
    give_name(&site, "blue", &blue)?;
    interfaces_watched(&site, 2.0)?;
    assert_eq!(attached(&blue)?, [1, 1]);
    site.stop_agent()
}

#[test]
fn without_the_privilege_the_rest_is_watched_and_one_sentence_says_so() -> Result<()> {
    let mut site = visiting()?;
    site.capabilities = privileges::OF_AN_AGENT;
    let _blue = named(&site, "blue", "198.18.0")?;
    let arguments = ["--interface-namespace", "blue"];
    site.start_agent(&arguments)?;
    interfaces_watched(&site, 1.0)?;
    let series = "netmon_agent_namespace_failures_total{cause=\"not_permitted\"}";
    wait_until(PATIENCE, "the attempt", || {
        (site.metric(METRICS, series).ok()? >= 1.0).then_some(())
    })?;
    let sentence = "network namespace blue cannot be entered without CAP_SYS_ADMIN";
    let log = site.log("agent.log");
    assert_eq!(log.matches(sentence).count(), 1, "{log}");
    let report = json(&status(&site, &["--format", "json"])?)?;
    let problems = report["problems"].to_string();
    assert!(problems.contains(sentence), "{problems}");
    let doctor = site.agent_command("doctor", &arguments)?.output()?;
    let text = String::from_utf8(doctor.stdout)?;
    assert!(
        !doctor.status.success() && text.contains(sentence),
        "{text}"
    );
    site.stop_agent()
}

#[test]
fn a_namespace_has_one_name() -> Result<()> {
    let mut site = visiting()?;
    let _blue = named(&site, "blue", "198.18.0")?;
    give_name(&site, "home", &site.namespace)?;
    let arguments = [
        "--interface-namespace",
        "home",
        "--interface-namespace",
        "blue",
    ];
    site.start_agent(&arguments)?;
    interfaces_watched(&site, 2.0)?;
    let report = json(&status(&site, &["--format", "json"])?)?;
    let home = &report["namespaces"][0];
    assert_eq!(home["watched"], false, "{report}");
    let error = home["error"].as_str().context("an error")?;
    assert!(error.contains("the agent runs in"), "{error}");
    assert_eq!(report["namespaces"][1]["interfaces"], 1, "{report}");
    let doctor = site.agent_command("doctor", &["--interface-namespace", "blue"])?;
    let text = String::from_utf8({ doctor }.output()?.stdout)?;
    assert!(text.contains("watching blue (eth0) too"), "{text}");
    site.stop_agent()
}

#[test]
fn the_end_of_the_agent_leaves_nothing_in_a_namespace() -> Result<()> {
    for hook in ["tcx", "clsact"] {
        if hook == "tcx" && !has_tcx("the end of links in a namespace")? {
            continue;
        }
        let mut site = visiting()?;
        let blue = named(&site, "blue", "198.18.0")?;
        site.agent_environment
            .push(("NETMON_AGENT__SENSOR__HOOK", hook));
        site.start_agent(&["--interface-namespace", "blue"])?;
        interfaces_watched(&site, 2.0)?;
        site.agent.take().context("an agent runs")?.kill()?;
        // What a killed agent has left, the next one removes; that one takes its own away itself.
        site.start_agent(&["--interface-namespace", "blue"])?;
        interfaces_watched(&site, 2.0)?;
        traffic::ping(&blue, "198.18.0.1".parse()?, 20, 56)?;
        let filters = || tc(&blue, &["filter", "show", "dev", INSIDE, "ingress"]);
        let ours = filters()?.matches("netmon-ingress").count();
        assert_eq!(ours, usize::from(hook == "clsact"), "{}", filters()?);
        site.stop_agent()?;
        assert_eq!(attached(&blue)?, [0, 0], "{hook}");
        assert_eq!(filters()?, "", "{hook}");
        let qdiscs = tc(&blue, &["qdisc", "show", "dev", INSIDE])?;
        assert!(!qdiscs.contains("clsact"), "{hook}: {qdiscs}");
        let counted = of_the_database(&site, "eth0@blue")?;
        assert!(counted[0] >= 20 && counted[0] <= of_the_kernel(&blue, INSIDE)?[0]);
    }
    Ok(())
}

#[test]
fn the_watch_list_is_in_force_in_a_namespace_that_comes_later() -> Result<()> {
    let mut site = visiting()?;
    let list = site.path("watch.txt");
    std::fs::write(&list, "198.18.0.0/24\n")?;
    let path: &'static str = Box::leak(list.display().to_string().into_boxed_str());
    site.agent_environment
        .push(("NETMON_AGENT__WATCH__FILE", path));
    site.start_agent(&["--interface-namespace", "blue", "--include", "*@blue"])?;
    let blue = named(&site, "blue", "198.18.0")?;
    interfaces_watched(&site, 1.0)?;
    let hits = || sum(&site, "watch_hits_total", "").ok();
    traffic::ping(&blue, "198.18.0.1".parse()?, 3, 56)?;
    wait_until(PATIENCE, "a hit", || (hits()? >= 1).then_some(()))?;
    // Nobody of the next list is there.
    std::fs::write(&list, "203.0.113.0/24\n2001:db8::/32\n")?;
    wait_until(PATIENCE, "the new list to be in force", || {
        (sum(&site, "watch_entries", "").ok()? == 2).then_some(())
    })?;
    let before = hits();
    let to = std::net::SocketAddr::new("198.18.0.1".parse()?, 30_000);
    traffic::udp(&blue, &site.namespace, to, 3, 100)?;
    wait_until(PATIENCE, "the flow to be counted", || {
        (sum(&site, "flow_packets_total", "eth0@blue").ok()? >= 9).then_some(())
    })
    .with_context(|| site.log("agent.log"))?;
    assert_eq!(hits(), before);
    site.stop_agent()
}

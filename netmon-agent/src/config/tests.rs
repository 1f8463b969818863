//! What a configuration takes and refuses.

use super::*;

#[test]
fn the_defaults_are_valid() {
    Config::load(None, Figment::new()).unwrap();
}

#[test]
fn a_value_outside_its_range_is_refused_by_name() {
    let flags = Figment::from(("sample_interval", "20s"));
    let error = Config::load(None, flags).unwrap_err().to_string();
    assert_eq!(error, "sample_interval is 20s, but it must be 10ms to 10s");
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let flags = Figment::from(("interfaces.includes", ["eth*"]));
    let error = Config::load(None, flags).unwrap_err().to_string();
    assert!(error.contains("includes"), "{error}");
}

#[test]
fn readings_of_the_host_can_be_turned_off() {
    for off in [
        Figment::from(("system.interval", "off")),
        Figment::from(("system.interval", 0)),
    ] {
        let config = Config::load(None, off).unwrap();
        assert_eq!(config.system.interval, None);
        assert!(config.to_toml().unwrap().contains("interval = \"off\""));
    }
    let error = Config::load(None, Figment::from(("system.interval", "11m"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "system.interval is 660s, but it must be 1s to 10m, or off"
    );
}

#[test]
fn metrics_can_be_turned_off() {
    let config = Config::load(None, Figment::from(("metrics.listen", ""))).unwrap();
    assert_eq!(config.metrics.listen, None);
    assert!(config.to_toml().unwrap().contains("listen = \"\""));
}

#[test]
fn the_status_socket_lies_with_the_spool_at_a_path_or_nowhere() {
    let spool = "/var/lib/netmon-agent/spool/status.sock";
    for (value, spool_directory, path) in [
        ("spool", "/var/lib/netmon-agent/spool", Some(spool)),
        ("spool", "", None),
        ("/run/a/b.sock", "", Some("/run/a/b.sock")),
        ("", "/var/lib/netmon-agent/spool", None),
    ] {
        let flags =
            Figment::from(("status.socket", value)).merge(("spool.directory", spool_directory));
        let config = Config::load(None, flags).unwrap();
        assert_eq!(config.status_socket(), path.map(PathBuf::from), "{value}");
        let dump = config.to_toml().unwrap();
        assert!(dump.contains(&format!("socket = \"{value}\"")), "{dump}");
    }
    let relative = Config::load(None, Figment::from(("status.socket", "here.sock")));
    let message = relative.unwrap_err().to_string();
    assert!(message.contains("status.socket"), "{message}");
}

#[test]
fn a_prefix_that_is_none_is_refused() {
    let flags = Figment::from(("interfaces.cidr", ["198.18.0.0/33"]));
    let message = Config::load(None, flags).unwrap_err().to_string();
    assert!(message.contains("interfaces.cidr"), "{message}");
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let error = Config::load(None, Figment::from(("log.filter", "a=b=c"))).unwrap_err();
    assert!(error.to_string().contains("log.filter"), "{error}");
}

#[test]
fn hooks_are_chosen_by_name() {
    for (name, hook) in [
        ("auto", Hook::Auto),
        ("tcx", Hook::Tcx),
        ("clsact", Hook::Clsact),
    ] {
        let config = Config::load(None, Figment::from(("sensor.hook", name))).unwrap();
        assert_eq!(config.sensor.hook, hook);
    }
    Config::load(None, Figment::from(("sensor.hook", "xdp"))).unwrap_err();
}

#[test]
fn xdp_and_pins_exclude_each_other() {
    let flags = Figment::from(("sensor.xdp", ["eth*"]));
    Config::load(None, flags.clone()).unwrap();
    let error = Config::load(None, flags.merge(("sensor.pin", true))).unwrap_err();
    assert!(
        error.to_string().starts_with("sensor.xdp is eth*"),
        "{error}"
    );
}

#[test]
fn metrics_stay_on_the_loopback() {
    let flags = Figment::from(("metrics.listen", "0.0.0.0:9642"));
    assert!(
        Config::load(None, flags)
            .unwrap_err()
            .to_string()
            .contains("loopback")
    );
}

#[test]
fn ntp_is_looked_for_on_up_to_eight_ports_or_on_none() {
    let with = |ports: &[u32]| {
        let flags = Figment::from(("ntp.ports", ports));
        Config::load(None, flags).map(|config| config.ntp.ports.as_slice().to_vec())
    };
    assert_eq!(with(&[1123, 123]).unwrap(), [123, 1123]);
    assert!(with(&[]).unwrap().is_empty());
    for (ports, complaint) in [
        (&[0][..], "ports are 1 to 65535"),
        (&[1, 2, 3, 4, 5, 6, 7, 8, 9], "eight ports at most"),
        (&[65_536], "65536"),
    ] {
        let error = with(ports).unwrap_err().to_string();
        assert!(
            error.contains(complaint) && error.contains("ntp.ports"),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
    let text = Config::load(None, Figment::new())
        .unwrap()
        .to_toml()
        .unwrap();
    assert!(text.contains("ports = [123]"), "{text}");
}

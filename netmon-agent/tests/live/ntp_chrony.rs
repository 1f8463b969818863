//! chrony in every mode it has: what it counted itself is what is stored, once each.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use netmon_lab::{Namespace, chrony, wait_until};
use serde_json::{Value, json};

use crate::ntp_cable::{Cable, HERE, HERE_6, THERE, count_by, each_once, has};

const PATIENCE: Duration = Duration::from_secs(30);
/// Valid answers that each source shall have given.
const ANSWERS: u64 = 16;
const STRATUM: u8 = 3;
/// Of the peer at the other end.
const FAR_STRATUM: u8 = 5;
/// Four requests a second. Without `noselect` chronyd would correct a clock of its own.
const OPTIONS: &str = "minpoll -2 maxpoll -2 noselect";
/// Types of extension fields (RFC 8915, section 7.6). The last one of a request is behind what the
/// sensor reads of a packet.
const UNIQUE_IDENTIFIER: u64 = 0x0104;
const COOKIE: u64 = 0x0204;
const AUTHENTICATOR: u64 = 0x0404;

#[test]
fn chrony_over_both_families_and_interleaved_is_stored_once_each() -> Result<()> {
    let mut cable = Cable::lay()?;
    let server = chrony::Server::start(cable.here(), &cable.site.path("server-c"), 123, STRATUM)?;
    let settings = format!(
        "port 0\nserver {} {OPTIONS}\nserver {} {OPTIONS}\n\
         server {} xleave {OPTIONS}\nserver {} xleave {OPTIONS}\n",
        HERE[0], HERE_6[0], HERE[1], HERE_6[1]
    );
    let client = start_client(&cable, &settings)?;
    let sources = answered(&client)?;
    let served = server.daemon().served()?;
    cable.cut()?;

    let mut interleaved = 0;
    for source in &sources {
        let rows = rows_of(&cable, source)?;
        let is_interleaved = [HERE[1], HERE_6[1]].contains(&source.address.to_string().as_str());
        ensure!(source.interleaved == is_interleaved, "{source:?}");
        let kinds = count_by(&rows, "match");
        if is_interleaved {
            // Until both sides have what they need, exchanges are basic.
            let count = kinds.get("interleaved").copied().unwrap_or(0);
            ensure!(count as u64 + 3 >= source.sent, "{kinds:?}");
            ensure!(kinds.len() <= 2, "{kinds:?}");
            interleaved += count as u64;
        } else {
            ensure!(kinds == BTreeMap::from([("basic".to_owned(), rows.len())]));
        }
        for row in &rows {
            has(
                row,
                &[("nts", json!(false)), ("request_mac_length", json!(0))],
            )?;
            has(row, &[("request_extensions", Value::Null)])?;
            has(row, &[("response_extensions", Value::Null)])?;
        }
    }
    assert_eq!(interleaved, served.interleaved);
    let sent: u64 = sources.iter().map(|source| source.sent).sum();
    assert_eq!(served.received, sent);
    assert_eq!(cable.exchanges("")?.len() as u64, sent);
    let clients = cable.listed("/api/v1/ntp/clients?limit=1000")?;
    assert_eq!(clients.len(), sources.len());
    Ok(())
}

#[test]
fn chrony_authenticated_by_keys_and_by_nts_is_stored_with_what_it_was_authenticated_by()
-> Result<()> {
    let mut cable = Cable::lay()?;
    let keys = cable.site.path("keys");
    fs::write(
        &keys,
        "1 MD5 HEX:00112233445566778899aabbccddeeff\n\
         70000 SHA1 HEX:00112233445566778899aabbccddeeff00112233\n\
         3 AES128 HEX:00112233445566778899aabbccddeeff\n",
    )?;
    // Octets: the key identifier, and the digest of the algorithm.
    let macs = [(1, 4 + 16), (70_000, 4 + 20), (3, 4 + 16)];
    let certificate = chrony::Certificate::make(cable.site.folder.path(), HERE[0].parse()?)?;
    let keyfile = format!("keyfile {}\n", keys.display());
    let mut settings = format!("local stratum {STRATUM}\nallow all\n{keyfile}");
    settings += &certificate.server_settings();
    let place = cable.here();
    let server = chrony::Daemon::start(
        "chrony server",
        place,
        &cable.site.path("server-c"),
        &settings,
    )?;
    let mut settings = format!("port 0\n{keyfile}{}", certificate.client_settings());
    settings += &format!("server {} nts {OPTIONS}\n", HERE[0]);
    for (server, (key, _)) in HERE[1..].iter().zip(macs) {
        settings += &format!("server {server} key {key} {OPTIONS}\n");
    }
    let client = start_client(&cable, &settings)?;
    let sources = answered(&client)?;
    let served = server.served()?;
    cable.cut()?;

    let sent: u64 = sources.iter().map(|source| source.sent).sum();
    assert_eq!(served.authenticated, sent);
    assert_eq!(cable.exchanges("")?.len() as u64, sent);
    for source in &sources {
        ensure!(source.authenticated, "{source:?}");
        let rows = rows_of(&cable, source)?;
        let at = HERE
            .iter()
            .position(|here| *here == source.address.to_string());
        let mac = at.and_then(|at| macs.get(at.checked_sub(1)?));
        for row in &rows {
            match mac {
                Some((key, length)) => has(
                    row,
                    &[
                        ("nts", json!(false)),
                        ("request_mac_length", json!(length)),
                        ("response_mac_length", json!(length)),
                        ("request_key_id", json!(key)),
                        ("response_key_id", json!(key)),
                        ("crypto_nak", json!(false)),
                    ],
                )?,
                None => by_nts(row)?,
            }
        }
    }
    let clients = cable.listed("/api/v1/ntp/clients?limit=1000")?;
    for client in &clients {
        has(client, &[("nts", json!(client["server"] == HERE[0]))])?;
    }
    Ok(())
}

fn by_nts(row: &Value) -> Result<()> {
    has(row, &[("nts", json!(true)), ("crypto_nak", json!(false))])?;
    let has_all = |field: &str, wanted: &[u64]| {
        let found = row[field].as_array().map_or(&[][..], Vec::as_slice);
        let has_one = |kind: &u64| found.contains(&json!(kind));
        ensure!(wanted.iter().all(has_one), "{field}: {row}");
        Ok(())
    };
    has_all("request_extensions", &[UNIQUE_IDENTIFIER, COOKIE])?;
    has_all("response_extensions", &[UNIQUE_IDENTIFIER, AUTHENTICATOR])
}

#[test]
fn peers_and_broadcasts_of_chrony_are_a_row_for_each_packet() -> Result<()> {
    let mut cable = Cable::lay()?;
    let common = "allow all\nlocal stratum";
    let peer = |address| format!("peer {address} minpoll 0 maxpoll 0 noselect\n");
    let near = chrony::Daemon::start(
        "chrony",
        cable.here(),
        &cable.site.path("near-c"),
        &format!(
            "{common} {STRATUM}\nbroadcast 1 198.18.0.255\n{}",
            peer(THERE)
        ),
    )?;
    let far = chrony::Daemon::start(
        "chrony peer",
        &cable.there,
        &cable.site.path("far-c"),
        &format!("{common} {FAR_STRATUM}\n{}", peer(HERE[0])),
    )?;
    wait_until(PATIENCE, "packets of both peers and broadcasts", || {
        let enough = |daemon: &chrony::Daemon| {
            let sources = daemon.sources().ok()?;
            Some(sources.first()?.valid >= 6)
        };
        (enough(&far)? && enough(&near)?).then_some(())
    })
    .with_context(|| format!("{}\n{}", far.last_words(), near.last_words()))?;
    near.fall_silent()?;
    far.fall_silent()?;
    let [far_peer, near_peer] = [&far, &near].map(|daemon| daemon.sources());
    let (to_here, to_there) = (far_peer?[0].sent, near_peer?[0].sent);
    drop(near);
    let came = datagrams(&cable.there)?;
    cable.cut()?;

    for (from, to, sent, stratum) in [
        (THERE, HERE[0], to_here, FAR_STRATUM),
        (HERE[0], THERE, to_there, STRATUM),
    ] {
        let rows = cable.exchanges(&format!("match=symmetric&server={from}&client={to}"))?;
        ensure!(rows.len() as u64 == sent, "{} rows of {sent}", rows.len());
        let measured = rows.iter().filter(|row| !row["offset_ns"].is_null());
        ensure!(measured.count() >= 4, "offsets of {from}");
        for row in &rows {
            has(
                row,
                &[
                    ("mode", json!(1)),
                    ("version", json!(4)),
                    ("stratum", json!(stratum)),
                    ("response_time_ns", Value::Null),
                ],
            )?;
        }
    }
    let broadcasts = cable.exchanges("match=broadcast")?;
    // What came to the far end was for the peer, or for all.
    assert_eq!(broadcasts.len() as u64, came - to_there);
    ensure!(broadcasts.len() >= 4);
    for row in &broadcasts {
        has(
            row,
            &[
                ("mode", json!(5)),
                ("server", json!(HERE[0])),
                ("stratum", json!(STRATUM)),
                ("leap", json!(0)),
                ("offset_ns", Value::Null),
            ],
        )?;
        ensure!(row["server_to_sensor_ns"].is_i64(), "{row}");
    }
    let all = cable.exchanges("")?;
    let kinds = count_by(&all, "match");
    let expected = [
        ("broadcast".to_owned(), broadcasts.len()),
        ("symmetric".to_owned(), (to_here + to_there) as usize),
    ];
    assert_eq!(kinds, BTreeMap::from(expected));
    Ok(())
}

/// UDP datagrams over IPv4 that came to a host, by its kernel: read by somebody, or wanted by nobody.
fn datagrams(place: &Namespace) -> Result<u64> {
    let text = place.run_inside(|| Ok(fs::read_to_string("/proc/thread-self/net/snmp")?))?;
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next(), lines.next());
    let (names, values) = names.zip(values).context("no counters of UDP")?;
    let counters = names.split(' ').zip(values.split(' '));
    let wanted = counters.filter(|(name, _)| ["InDatagrams", "NoPorts"].contains(name));
    let mut sum = 0;
    for (_, value) in wanted {
        sum += value.parse::<u64>()?;
    }
    Ok(sum)
}

fn start_client(cable: &Cable, settings: &str) -> Result<chrony::Daemon> {
    let directory = cable.site.path("client-c");
    chrony::Daemon::start("chrony client", &cable.there, &directory, settings)
}

/// Waits until every source has answered often enough, then asks no more; returns what chrony has
/// counted in the end. It closes its sockets at once: an answer on its way comes to nobody.
fn answered(client: &chrony::Daemon) -> Result<Vec<chrony::Source>> {
    wait_until(PATIENCE, "answers of all sources", || {
        let sources = client.sources().ok()?;
        let mut all = sources.iter();
        all.all(|source| source.valid >= ANSWERS).then_some(())
    })
    .with_context(|| client.last_words())?;
    client.fall_silent()?;
    client.sources()
}

/// Whether sensor and chrony, on the same host, differ in when the request came: both have it from the
/// kernel's stamp, which chrony writes into its answer.
fn has_another_stamp(row: &Value) -> Result<bool> {
    let text = |field: &str| {
        row[field]
            .as_str()
            .with_context(|| format!("{field}: {row}"))
    };
    let fraction = u64::from_str_radix(&text("receive_timestamp")?[8..], 16)?;
    let of_server = (fraction * 1_000_000_000) >> 32;
    let (_, fraction) = text("requested_at")?.split_once('.').unwrap_or(("", "0"));
    let of_sensor: u64 = format!("{:0<9}", fraction.trim_end_matches('Z')).parse()?;
    Ok(of_server.abs_diff(of_sensor) > 1000)
}

/// What is stored of a source: as many exchanges as it says, each once, with its header fields.
fn rows_of(cable: &Cable, source: &chrony::Source) -> Result<Vec<Value>> {
    let rows = cable.exchanges(&format!("server={}", source.address))?;
    ensure!(
        rows.len() as u64 == source.sent && source.received + 1 >= source.sent,
        "{} rows of {source:?}: {:?}",
        rows.len(),
        count_by(&rows, "match")
    );
    each_once(&rows)?;
    let (mut held_up, mut unlike) = (0, 0);
    for row in &rows {
        has(
            row,
            &[
                ("request_version", json!(4)),
                ("version", json!(4)),
                ("mode", json!(4)),
                ("leap", json!(0)),
                ("stratum", json!(source.stratum)),
                ("precision", json!(source.precision)),
                (
                    "reference_id",
                    json!(format!("{:08x}", source.reference_id)),
                ),
                ("server_port", json!(123)),
                ("vantage", json!("server")),
                ("kiss_code", Value::Null),
            ],
        )?;
        ensure!(row["response_time_ns"].as_i64() > Some(0), "{row}");
        unlike += usize::from(has_another_stamp(row)?);
        // When an answer left chrony says in the next one, by the kernel's stamp, and a virtual machine
        // may stand still between that and ours. Into authenticated answers it writes when it expects
        // to be ready: sometimes later than it was.
        let other_stamps = source.interleaved || source.authenticated;
        if other_stamps && row["null_reason"] == "invalid_server_time" {
            held_up += 1;
            continue;
        }
        ensure!(row["server_processing_ns"].is_i64(), "{row}");
    }
    ensure!(held_up * 8 <= rows.len(), "{held_up} rows of {source:?}");
    // The kernel begins to stamp a moment after chrony has asked for it.
    ensure!(unlike * 8 <= rows.len(), "{unlike} rows of {source:?}");
    // The first ones are less often than they may be later.
    let last = rows.last().context("no rows")?;
    has(last, &[("poll", json!(source.poll))])?;
    Ok(rows)
}

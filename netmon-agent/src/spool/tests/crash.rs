//! The process dies between any two changes on disk.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use super::*;

/// What the disk, the server and the kernel's counter were at a moment.
struct Moment {
    step: &'static str,
    dir: PathBuf,
    server: Server,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A run in a spool that is far too small, with and without a server, with every moment kept.
fn moments(copies: &Path) -> Vec<Moment> {
    let dir = tempfile::tempdir().unwrap();
    let caps = Caps {
        disk_bytes: 6 * 4096,
        segment_bytes: 2000,
        ..CAPS
    };
    let server = Arc::new(Mutex::new(Server::default()));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (mut agent, _) = Agent::open(dir.path(), caps, 1);
    let on_step = {
        let (server, kept, copies) = (Arc::clone(&server), Arc::clone(&kept), copies.to_owned());
        OnStep(Box::new(move |path, step| {
            let mut kept: std::sync::MutexGuard<'_, Vec<Moment>> = kept.lock().unwrap();
            let to = copies.join(kept.len().to_string());
            copy(path, &to);
            kept.push(Moment {
                step,
                dir: to,
                server: server.lock().unwrap().clone(),
            });
        }))
    };
    agent.keeper.disk_mut().unwrap().directory_mut().on_step = Some(on_step);
    for round in 0..6 {
        for _ in 0..8 {
            agent.push_frame(10);
            agent.push_exchange(900);
            agent.push_system();
        }
        if round % 2 == 1 {
            agent.keeper.connect(agent.now, MAX_STREAM_BATCHES);
            for _ in 0..12 {
                let Some(message) = agent.keeper.next_to_send(agent.now) else {
                    break;
                };
                let answer = server.lock().unwrap().receive(&message);
                // Every third acknowledgement is lost with its connection.
                if answer.sequences[0] % 3 != 0 {
                    agent.keeper.acknowledged(agent.now, &answer);
                }
                agent.turn();
            }
            agent.keeper.disconnect();
        }
    }
    agent.stop();
    let mut kept = kept.lock().unwrap();
    std::mem::take(&mut *kept)
}

#[test]
fn omissions_and_counters_survive_a_crash_between_any_two_steps() {
    let copies = tempfile::tempdir().unwrap();
    let moments = moments(copies.path());
    for step in ["create", "append", "state", "delete"] {
        assert!(
            moments.iter().any(|moment| moment.step == step),
            "no {step} in the run"
        );
    }
    assert!(moments.len() > 100, "{}", moments.len());
    let mut omitted = 0;
    for (at, moment) in moments.into_iter().enumerate() {
        let mut server = moment.server;
        let (mut agent, recovered) = Agent::open(&moment.dir, CAPS, 2);
        assert_eq!(recovered.corrupt, 0, "moment {at}");
        // The kernel has counted on while no agent ran.
        agent.push_frame(7);
        agent.deliver(&mut server);
        assert_eq!(agent.keeper.status().waiting.0, 0, "moment {at}");
        server.audit();
        for ((epoch, kind), (settled, sealed)) in &server.streams {
            let over = *epoch > 1 || settled == sealed;
            assert!(over, "moment {at}, after {}: kind {kind}", moment.step);
        }
        omitted = omitted.max(server.omissions.len());
        // Three runs later nobody speaks of it any more.
        agent.stop();
        let (mut agent, _) = Agent::open(&moment.dir, CAPS, 3);
        agent.deliver(&mut server);
        agent.deliver(&mut server);
        let old = agent.keeper.hello_streams();
        assert!(old.iter().all(|stream| stream.epoch > 1), "{old:?}");
        assert!(agent.keeper.book().omissions.all().is_empty());
    }
    assert!(omitted > 0, "the spool was too small");
}

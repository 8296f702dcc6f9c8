//! The agent's life: mount `/data`, close what the journal holds, serve, and only then let Docker start containers.

use std::{fs, process::ExitCode, time::Duration};

use lap_base::error::{Kind, OrError, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::init;
use crate::{
    agent::{
        daemons::{self, ports},
        lock::NodeLock,
        pool, push,
        recovery::{self, Recovery},
        serve,
        system::{kernel, node_config::read_config, systemd},
    },
    wire::{paths, protocol::Holder},
};

/// How often the daemons are looked after.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the agent until SIGTERM, or until it was replaced by a newer binary.
pub fn run() -> ExitCode {
    // The first process keeps signals blocked to take them one by one, and its children inherit that; so would ours.
    if let Err(error) = nix::sys::signal::SigSet::all().thread_unblock() {
        eprintln!("agent: cannot unblock signals: {error}");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("agent: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(live());
    // Connections that still run (a lock, a Docker stream) must not keep the agent alive.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn live() -> Result<ExitCode> {
    let mut term = signal(SignalKind::terminate()).or_error(Kind::Node, || "cannot wait for signals".into())?;
    let config = read_config()?;
    if let Err(error) = crate::agent::data::freeze::recover() {
        eprintln!("agent: {error}");
    }
    // sshd first: a node whose pool is damaged can still be looked at.
    let (for_sshd, for_pool) = (config.clone(), config.clone());
    let sshd = tokio::task::spawn_blocking(move || daemons::sshd(&for_sshd));
    let prepared = tokio::task::spawn_blocking(move || -> Result<Option<String>> {
        daemons::sweep();
        let parent = kernel::prepare_cgroups()?;
        pool::mount(&for_pool)?;
        // A restore that was interrupted decides what the data is.
        recovery::recover_data()?;
        crate::agent::pool::binds::remove_those_of_an_earlier_boot();
        pool::mount_data()?;
        crate::agent::pool::binds::refresh_and_tell();
        // Where the whole node was away, only the record is left of it.
        crate::agent::data::freeze::recover()?;
        if let Err(error) = crate::agent::prune::recover_at_start() {
            eprintln!("agent: {error}");
        }
        // At every start, so that a node made by an earlier lap has it before its containers are.
        for dir in [paths::DNS_STATE, paths::PUSH] {
            fs::create_dir_all(dir).or_error(Kind::Node, || format!("cannot make `{dir}`"))?;
        }
        Ok(parent)
    });
    sshd.await.or_error(Kind::Other, || "sshd".into())??;
    if systemd::is_here() {
        super::guest::start();
    }
    let parent = prepared.await.or_error(Kind::Other, || "pool".into())??;
    let state = std::path::Path::new(paths::STATE);
    let lock = NodeLock::open(state);
    let listener = serve::listen()?;
    systemd::ready();
    // What is half done comes first: the lock is taken before anybody else can have it.
    let take = || lock.take(&Holder::recovery(), lap_base::clock::now()).ok().and_then(std::result::Result::ok);
    let pending = if recovery::is_pending() { take() } else { None };
    let since = lap_base::clock::now();
    if daemons::dockerd(&config, parent.as_deref())? {
        // A Docker that was killed together with the agent leaves its containers down, and one that was killed with the node may fail to
        // start some.
        tokio::spawn(recovery::revive(lock.clone(), since));
    }
    tokio::spawn(ports::watch());
    tokio::spawn(crate::agent::checks::recover());
    tokio::spawn(crate::agent::data::quota::watch());
    let (replaced, mut was_replaced) = tokio::sync::mpsc::channel(1);
    let agent = serve::Agent::new(state, lock.clone(), replaced);
    let recovery =
        Recovery { lock: agent.lock.clone(), progress: agent.recovery.clone(), switch: agent.switch.clone() };
    tokio::spawn(recovery.run(pending));
    tokio::spawn(serve::schedule(agent.clone()));
    let serving = tokio::spawn(serve::serve(listener, agent));
    push::start();
    loop {
        tokio::select! {
            _ = term.recv() => {
                serving.abort();
                let _ = fs::remove_file(paths::SOCKET);
                if systemd::is_here() {
                    // Docker, and what is mounted, are its to stop: when the machine goes down, not when we do.
                    return Ok(ExitCode::SUCCESS);
                }
                let _ = tokio::task::spawn_blocking(|| { daemons::stop(); pool::unmount(); }).await;
                return Ok(ExitCode::SUCCESS);
            }
            _ = was_replaced.recv() => return Ok(ExitCode::from(init::RESTART)),
            () = tokio::time::sleep(LOOK) => {
                // They say themselves why they cannot start; the next look tries again.
                if let Err(error) = daemons::sshd(&config) {
                    eprintln!("agent: {error}");
                }
                let since = lap_base::clock::now();
                match daemons::dockerd(&config, parent.as_deref()) {
                    Ok(false) => {}
                    Ok(true) => {
                        eprintln!("agent: dockerd had stopped, starting it again");
                        tokio::spawn(recovery::revive(lock.clone(), since));
                        tokio::spawn(ports::watch());
                    }
                    Err(error) => eprintln!("agent: {error}"),
                }
            }
        }
    }
}

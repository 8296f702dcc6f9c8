//! A promotion's switch, and a rollback, in the agent.

use std::{fs, path::Path, sync::Mutex};

use lap::{
    agent::{
        pool, recorded,
        recovery::{recover_containers, recover_data},
        switch::{self, SwitchWatch},
    },
    release::{
        self, LedgerEntry, SwitchOrder, SwitchOutcome,
        manifest::{ReleaseManifest, identity},
    },
    wire::labels::{KEPT, LABEL_CONTAINER},
};
use lap_snapshots::{Filesystem, Id, data};
use serde_json::{Value, json};

use super::{
    Notes,
    campaign::Campaign,
    docker::{Container, Docker, socket},
    node,
    pool::{is_one_of, on_each, take, version, write, write_all},
};

const AT: i64 = 1_795_254_312;

fn manifest(number: u64) -> ReleaseManifest {
    serde_json::from_value(json!({
        "commit": format!("c{number}"), "release": number, "env": "e", "checks": "", "containers": {}, "images": {}, "by": "a@b", "at": 5,
    }))
    .unwrap()
}

fn image(number: u64) -> String {
    format!("web:{number}")
}

fn labels() -> std::collections::BTreeMap<String, String> {
    [(LABEL_CONTAINER.to_owned(), "web".to_owned())].into()
}

/// From release `from` to `to`; `back`: to the data of this snapshot.
fn order(from: u64, to: u64, back: Option<&Id>) -> SwitchOrder {
    serde_json::from_value(json!({
        "verb": if back.is_some() { "rollback" } else { "promote" }, "from": "test", "number": to, "commit": format!("c{to}"),
        "release": manifest(to), "expects": identity(Some(&manifest(from))), "stop": ["web"],
        "start": [{"name": "web", "after": [], "body": {"Image": image(to), "Labels": labels()}, "patience": 30}],
        "gate": ["web"], "data": back, "staged": [], "git": null, "registry_image": null, "settle": 0, "max_outage": null,
        "attended": false,
    }))
    .unwrap()
}

/// Release `number` runs.
fn runs(pool: &Path, number: u64) {
    let text = |number| serde_json::to_vec_pretty(&json!(manifest(number))).unwrap();
    fs::create_dir_all(pool.join("state/releases")).unwrap();
    for known in 1..=number {
        fs::write(pool.join(format!("state/releases/{known}.json")), text(known)).unwrap();
    }
    fs::write(pool.join("state/current.json"), text(number)).unwrap();
    let entry: Value = json!({
        "number": 0, "fence": 1, "began": 1, "ended": 2, "by": "anna@notebook", "verb": "promote", "from": "test", "release": number,
        "commit": "abc", "images": {}, "before": null, "checks": 3, "away": 5, "outage": [], "result": "done", "previous": "",
    });
    let entry: LedgerEntry = serde_json::from_value(entry).unwrap();
    release::append(&pool.join("state/ledger.jsonl"), entry).unwrap();
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(future)
}

fn root(pool: &Path) -> &Path {
    pool.ancestors().nth(4).unwrap()
}

/// As the agent does it at its start.
fn recovered(pool: &Path) -> Result<(), String> {
    let recovered: lap_base::error::Result<_> = node::run(root(pool), || {
        block_on(async {
            tokio::task::spawn_blocking(recover_data).await.unwrap()?;
            pool::mount_data()?;
            recover_containers(false).await?;
            let said = switch::recover(&SwitchWatch::default(), false).await?;
            let again = switch::recover(&SwitchWatch::default(), false).await?;
            Ok((said, again))
        })
    });
    match recovered {
        Ok((_, None)) => Ok(()),
        Ok((_, Some(again))) => Err(format!("a second recovery: {again}")),
        Err(error) => Err(error.to_string()),
    }
}

/// What a power cut comes after.
#[derive(Clone)]
enum Event {
    /// Docker's containers have changed.
    Docker(Vec<Container>),
    /// The switch was acknowledged.
    Done,
}

/// A switch from release `from` to `to`. Release 1 has version 1 of the data of `web`, release 2 another one.
struct Switch {
    from: u64,
    to: u64,
    /// The data to go back to.
    back: Mutex<Option<Id>>,
    docker: Mutex<Option<Docker>>,
}

impl Switch {
    fn prepare(&self, pool: &Path) {
        node::make(root(pool));
        write_all(pool, 1);
        if self.from == 2 {
            *self.back.lock().unwrap() = Some(take(pool, AT).unwrap());
            write(pool, "web", 2);
        }
        runs(pool, self.from);
    }

    fn run(&self, pool: &Path, notes: &Notes<Event>) {
        let (own, heard) = (pool.to_owned(), notes.clone());
        // The container of release 2 makes its data another version. It does not write it to the disk.
        let on_start = move |container: &Container| {
            if container.image == image(2) && version(&own.join("data"), "web") == Ok(1) {
                write(&own, "web", 2);
            }
        };
        let on_change = move |all: &[Container]| heard.note(Event::Docker(all.to_vec()));
        let docker = Docker::listen(&socket(root(pool)), Box::new(on_change), Box::new(on_start));
        docker.run("infra_web", &image(self.from), labels());
        *self.docker.lock().unwrap() = Some(docker);
        let order = order(self.from, self.to, self.back.lock().unwrap().as_ref());
        let done = node::run(root(pool), || {
            block_on(async {
                pool::mount_data()?;
                switch::run(order, "anna@notebook".into(), 9, SwitchWatch::default(), Box::new(|_| {})).await
            })
        });
        let (entry, _) = done.unwrap();
        assert_eq!(entry.result, SwitchOutcome::Done, "{entry:?}");
        notes.note(Event::Done);
    }

    fn check(&self, pool: &Path, notes: &[Event]) -> Result<(), String> {
        let docker = self.docker.lock().unwrap().clone().unwrap();
        let then = notes.iter().rev().find_map(|event| match event {
            Event::Docker(then) => Some(then),
            Event::Done => None,
        });
        let Some(then) = then else { return Ok(()) };
        docker.go_back(then);
        recovered(pool)?;
        let state = pool.join("state");
        let recorded = recorded::read(&state);
        is_one_of("unreadable files", &recorded.unreadable(), &[Vec::new()])?;
        let current = recorded.current.value_or_refuse().map_err(|error| error.to_string())?;
        let runs = current.and_then(|current| current.release).unwrap_or_default();
        is_one_of(
            "the release",
            &runs,
            if matches!(notes.last(), Some(Event::Done)) { std::slice::from_ref(&self.to) } else { &[1, 2] },
        )?;
        // All of it is of that release.
        is_one_of("web", &version(&pool.join("data"), "web")?, &[runs])?;
        is_one_of("git", &version(&pool.join("data"), "git")?, &[1])?;
        let containers = docker.containers();
        let found: Vec<_> = containers.iter().map(|it| (it.name.as_str(), it.image.clone(), it.running)).collect();
        is_one_of("the containers", &found, &[vec![("infra_web", image(runs), true)]])?;
        assert!(!containers.iter().any(|it| it.name.starts_with(KEPT)));
        if !recorded.releases.contains_key(&runs) {
            return Err(format!("release {runs} has no file"));
        }
        // What the ledger refers to is there.
        for entry in recorded.ledger.iter().filter(|entry| entry.fence == 9) {
            let before = entry.before.as_ref().map(|id| version(&data(pool, id), "web"));
            match &entry.result {
                SwitchOutcome::Done => {
                    is_one_of("the data before", &before, &[Some(Ok(self.from))])?;
                    is_one_of("the release of the ledger", &runs, &[self.to])?;
                }
                SwitchOutcome::TakenBack { failed, .. } => {
                    is_one_of("the release that was taken back to", &runs, &[self.from])?;
                    if let Some(id) = failed {
                        let name = data(pool, id);
                        let whole = name.is_dir() && before == Some(Ok(self.from));
                        is_one_of(&format!("whether {} is whole", name.display()), &whole, &[true])?;
                    }
                }
            }
        }
        let done = recorded.ledger.iter().any(|entry| entry.fence == 9 && entry.result == SwitchOutcome::Done);
        is_one_of("whether the ledger has it", &done, &[runs == self.to])?;
        if state.join("switch.json").exists() { Err("the switch is pending".into()) } else { Ok(()) }
    }

    fn play(&self, name: &str, filesystem: Filesystem) {
        Campaign {
            name,
            filesystem,
            busy: &["state", "snapshots"],
            prepare: &|pool| self.prepare(pool),
            run: &|pool, notes| self.run(pool, notes),
            // What Docker knows does not go back with a cut of a recovery.
            recover: None,
            check: &|pool, notes| self.check(pool, notes),
        }
        .play();
    }
}

fn between(from: u64, to: u64) -> Switch {
    Switch { from, to, back: Mutex::default(), docker: Mutex::default() }
}

#[test]
fn a_promotion_ends_in_the_old_release_or_the_new_one() {
    on_each(|filesystem| between(1, 2).play("promote", filesystem));
}

#[test]
fn a_rollback_ends_in_the_old_release_or_the_new_one() {
    on_each(|filesystem| between(2, 1).play("rollback", filesystem));
}

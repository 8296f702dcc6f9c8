//! Writes `current.json`, or a release's file, anew where it cannot be read. What it held is taken from another file that says the same
//! (the release's file, or the description of a snapshot), and must agree with the ledger and with the labels of the containers.

use std::{fs, path::Path};

use lap_base::{
    clock::now,
    durable::{self, write_file},
    error::{Error, Kind, OrError, Result},
    state::{self, State},
};
use lap_snapshots as snapshot;
use lap_snapshots::Meta;

use super::read::{Recorded, path, read};
use crate::{
    agent::{docker, pool, system::node_config::status},
    release::{SwitchOutcome, desired_state::DesiredState, manifest::ReleaseManifest},
    wire::{
        labels::LABEL_SPEC,
        paths,
        protocol::{ContainerFact, Response},
    },
};

/// Does it, for the release that runs or for `number`. Nothing is written where nothing is damaged.
///
/// # Errors
/// No file says what that release is, or the ledger or the containers say something else.
pub fn record(number: Option<u64>) -> Result<Response> {
    let state = Path::new(paths::STATE);
    let found = read(state);
    let runtime = tokio::runtime::Handle::current();
    let list = async { docker::containers(&docker::connect().await?).await };
    let containers = runtime.block_on(list).map_err(|error| {
        Error::new(Kind::Node, "cannot list the containers: Docker does not answer")
            .hint(error.message)
            .hint(format!("`{}` shows details", status()))
    })?;
    let snapshots = snapshot::list(pool::path()?)?;
    let release = choose(&found, &snapshots, &containers, number)?;
    let text = serde_json::to_vec_pretty(&release).or_error(Kind::Other, || "cannot describe a release".into())?;
    let mut wrote = Vec::new();
    let releases = state.join("releases");
    if let Some(number) = release.release.filter(|number| !is_value(found.releases.get(number))) {
        if state::names(&releases).is_absent() {
            durable::create_dir_all(&releases)
                .or_error(Kind::Node, || format!("cannot make `{}`", releases.display()))?;
        }
        wrote.push(write(&releases.join(format!("{number}.json")), &text)?);
    }
    if !is_value(Some(&found.current)) {
        wrote.push(write(&path(state), &text)?);
    }
    Ok(Response::RecordedAnew { release: Box::new(release), wrote })
}

fn is_value<T>(state: Option<&State<T>>) -> bool {
    matches!(state, Some(State::Value(_)))
}

/// What is there is kept beside it: it may tell why.
fn write(path: &Path, text: &[u8]) -> Result<String> {
    if fs::symlink_metadata(path).is_ok() {
        let aside = path.with_added_extension(format!("damaged-{}", now()));
        fs::rename(path, &aside).or_error(Kind::Node, || format!("cannot rename `{}`", path.display()))?;
    }
    write_file(path, text, 0o600)?;
    Ok(path.display().to_string())
}

/// What the release is whose file is to be written.
fn choose(
    found: &Recorded,
    snapshots: &[Meta],
    containers: &[ContainerFact],
    number: Option<u64>,
) -> Result<ReleaseManifest> {
    let runs = match &found.current {
        State::Value(current) => Some(current),
        _ => None,
    };
    if let Some(current) = runs.filter(|current| number.is_none() || current.release == number) {
        return Ok(current.clone());
    }
    // Which release runs is known: only the file of another one may be missing, and that release need not agree with what runs.
    let other = runs.is_some();
    let last =
        found.chain.as_ref().ok().and_then(|_| found.ledger.iter().rfind(|entry| entry.result == SwitchOutcome::Done));
    let last = last.map(|entry| entry.release);
    let wanted = if other { number } else { number.or(last) };
    if let (false, Some(number), Some(last)) = (other, number, last)
        && number != last
    {
        return Err(Error::new(Kind::Refused, format!("according to the ledger, release {last} runs, not {number}"))
            .hint(format!("run `lap release record {last}`, then `lap rollback {number}`")));
    }
    let mut all: Vec<ReleaseManifest> = found
        .releases
        .values()
        .filter_map(|release| match release {
            State::Value(release) => Some(release.clone()),
            _ => None,
        })
        .collect();
    all.extend(
        snapshots.iter().filter_map(|meta| serde_json::from_value::<ReleaseManifest>(meta.current.clone()?).ok()),
    );
    all.retain(|release| release.release.is_some() && (wanted.is_none() || release.release == wanted));
    all.sort_by_key(|release| std::cmp::Reverse(release.at));
    let Some(newest) = all.first() else {
        let what = wanted.map_or("what runs".to_owned(), |number| format!("what release {number} is"));
        return Err(Error::new(Kind::Refused, format!("no file on the node says {what}")).hint(
            "lap searched `releases/` and the snapshots; a copy in a repository may have it: restore it to a new node with `lap recover`",
        ));
    };
    if other {
        return Ok(newest.clone());
    }
    let agrees = |release: &&ReleaseManifest| {
        let (same, differ) = compare(release, containers);
        differ.is_empty() && (wanted.is_some() || !same.is_empty())
    };
    all.iter().find(agrees).cloned().ok_or_else(|| {
        let differ = compare(newest, containers).1;
        let number = newest.release.unwrap_or_default();
        match differ.is_empty() {
            true => Error::new(Kind::Refused, "there is no container whose labels name the running release")
                .hint("name it: `lap release record NUMBER`"),
            false => Error::new(
                Kind::Refused,
                format!("some containers do not belong to release {number}: `{}`", differ.join("`, `")),
            )
            .hint("`lap release list` shows the others; name the one that runs: `lap release record NUMBER`"),
        }
    })
}

/// The containers that are those of the release, and those that are not. One that is missing says nothing.
fn compare<'a>(release: &ReleaseManifest, containers: &'a [ContainerFact]) -> (Vec<&'a str>, Vec<&'a str>) {
    let desired = DesiredState::from(release.clone());
    let is_of = |fact: &&ContainerFact| {
        let container = desired.containers.get(&fact.name).filter(|container| container.scale > 0);
        let label = fact.labels.get(LABEL_SPEC);
        container.is_some_and(|container| label.is_some_and(|label| desired.is_label_of(label, container)))
    };
    let (same, differ): (Vec<_>, Vec<_>) = containers.iter().partition(is_of);
    let names = |all: Vec<&'a ContainerFact>| all.into_iter().map(|fact| fact.name.as_str()).collect();
    (names(same), names(differ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::model::Container,
        release::{LedgerEntry, tests::entry},
        wire::protocol::Health,
    };
    use lap_base::state::Unreadable;
    use lap_snapshots::{Id, Reason};

    /// A release whose one container stands on the image `build`.
    fn release(number: u64, at: i64) -> ReleaseManifest {
        let image = crate::release::manifest::ImageSpec {
            build: format!("build-{number}"),
            parents: Vec::new(),
            reference: None,
        };
        ReleaseManifest {
            commit: format!("c{number}"),
            release: Some(number),
            env: "e".into(),
            checks: String::new(),
            containers: [("web".to_owned(), Container::new("web"))].into(),
            images: [("web".to_owned(), image)].into(),
            by: "a@b".into(),
            at,
        }
    }

    fn containers(of: &ReleaseManifest) -> Vec<ContainerFact> {
        let desired = DesiredState::from(of.clone());
        let fact = |container: &Container| ContainerFact {
            name: container.name.clone(),
            id: String::new(),
            image: String::new(),
            labels: [(LABEL_SPEC.to_owned(), desired.spec(container))].into(),
            state: "running".into(),
            health: Health::Healthy,
            created: 0,
            status: String::new(),
        };
        desired.running().map(fact).collect()
    }

    fn damaged<T>() -> State<T> {
        State::Unreadable(Unreadable::new("/x/current.json", "it is truncated"))
    }

    fn found(releases: &[u64], ledger: &[u64]) -> Recorded {
        let ledger: Vec<LedgerEntry> = ledger.iter().map(|number| entry(*number)).collect();
        Recorded {
            current: damaged(),
            releases: releases.iter().map(|number| (*number, State::Value(release(*number, 5)))).collect(),
            ledger,
            chain: Ok(String::new()),
            directory: None,
        }
    }

    fn snapshot(of: &ReleaseManifest) -> Meta {
        Meta {
            id: Id::new(of.at, 1),
            at: of.at,
            reason: Reason::Asked,
            note: None,
            by: "a@b".into(),
            current: Some(serde_json::json!(of)),
            pause: None,
            order: None,
            nested: lap_snapshots::Nested::default(),
        }
    }

    #[test]
    fn the_release_that_ledger_and_containers_name_is_recorded() {
        let four = release(4, 5);
        let runs = containers(&four);
        assert_eq!(choose(&found(&[3, 4], &[3, 4]), &[], &runs, None).unwrap(), four);
        assert_eq!(
            choose(&found(&[3, 4], &[3, 4]), &[], &[], None).unwrap(),
            four,
            "containers that are gone say nothing"
        );
        assert_eq!(choose(&found(&[3], &[3, 4]), &[snapshot(&four)], &runs, None).unwrap(), four, "from a snapshot");
        let refused = |found: &Recorded, containers: &[ContainerFact], number| {
            choose(found, &[], containers, number).unwrap_err().message
        };
        let error = refused(&found(&[3, 4], &[3, 4]), &containers(&release(3, 5)), None);
        assert_eq!(error, "some containers do not belong to release 4: `web`");
        let error = refused(&found(&[3, 4], &[3, 4]), &runs, Some(3));
        assert_eq!(error, "according to the ledger, release 4 runs, not 3");
        assert_eq!(refused(&found(&[3], &[3, 4]), &runs, None), "no file on the node says what release 4 is");
    }

    #[test]
    fn without_a_ledger_the_containers_decide() {
        let runs = containers(&release(1, 5));
        let mut damaged_ledger = found(&[1, 2], &[2]);
        damaged_ledger.chain = Err(Unreadable::new("/x/ledger.jsonl", "entry 2: it is truncated"));
        for found in [found(&[1], &[]), found(&[1, 2], &[]), damaged_ledger] {
            assert_eq!(choose(&found, &[], &runs, None).unwrap(), release(1, 5));
            let error = choose(&found, &[], &[], None).unwrap_err();
            assert_eq!(error.message, "there is no container whose labels name the running release");
            assert_eq!(choose(&found, &[], &[], Some(1)).unwrap(), release(1, 5));
        }
    }

    #[test]
    fn a_damaged_file_of_a_release_is_written_from_what_knows_it() {
        let four = release(4, 5);
        let mut found = found(&[3, 4], &[3, 4]);
        found.current = State::Value(four.clone());
        found.releases.insert(4, damaged());
        assert_eq!(choose(&found, &[], &[], None).unwrap(), four, "what runs");
        found.releases.insert(3, damaged());
        assert!(choose(&found, &[], &[], Some(3)).is_err());
        assert_eq!(choose(&found, &[snapshot(&release(3, 4))], &[], Some(3)).unwrap(), release(3, 4));
    }

    /// An earlier lap gave another label to containers whose volumes lie in the data of a container.
    #[test]
    fn a_container_of_an_earlier_lap_belongs_to_its_release() {
        let mut four = release(4, 5);
        let volumes = vec![crate::config::value::volume::volume("/data/git/pages:/pages:ro").unwrap()];
        four.containers.get_mut("web").unwrap().volumes = volumes.clone();
        let mut runs = containers(&four);
        // What a lap without `binds` computed.
        let earlier = Container { volumes, ..Container::new("web") };
        let text = serde_json::to_string(&(earlier, "build-4", "e")).unwrap();
        let label = hex::encode(&<sha2::Sha256 as sha2::Digest>::digest(text.as_bytes())[..16]);
        assert_ne!(runs[0].labels[LABEL_SPEC], label);
        runs[0].labels.insert(LABEL_SPEC.into(), label);
        let mut found = found(&[3, 4], &[3, 4]);
        found.releases.insert(4, State::Value(four.clone()));
        assert_eq!(choose(&found, &[], &runs, None).unwrap(), four);
    }
}

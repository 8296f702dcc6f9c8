//! `lap prune` in the data of a registry that is hostile.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::mpsc::channel,
    time::Duration,
};

use lap::{
    agent::prune::registry::{is_set_aside, put_all_back, read_registry, remove, sweep, take_over, tidy},
    wire::prune::PruneRules,
};
use lap_base::Kind;

use super::{all_of, control, fifo, while_swapping};

/// Nothing is too young to go.
const NOW: PruneRules = PruneRules { keep: 1, keep_failed: 0, grace: 0 };

/// `/data` with the data of a registry and of git.
struct Data(tempfile::TempDir);

impl Data {
    fn new() -> Self {
        let data = Self(tempfile::tempdir().unwrap());
        for dir in ["repositories/infra", "blobs/sha256"] {
            fs::create_dir_all(data.store().join(dir)).unwrap();
        }
        fs::create_dir_all(data.git().join("ssh")).unwrap();
        fs::create_dir_all(data.git().join("repositories/lap.git")).unwrap();
        fs::write(data.git().join("ssh/ssh_host_ed25519_key"), "the host key").unwrap();
        fs::write(data.git().join("repositories/lap.git/HEAD"), "ref: refs/heads/master").unwrap();
        data
    }

    fn registry(&self) -> PathBuf {
        self.0.path().join("registry")
    }

    fn store(&self) -> PathBuf {
        self.registry().join("docker/registry/v2")
    }

    fn git(&self) -> PathBuf {
        self.0.path().join("git")
    }

    /// A layer that no image names.
    fn layer(&self, digit: char) -> PathBuf {
        let hex = digit.to_string().repeat(64);
        let dir = self.store().join("blobs/sha256").join(&hex[..2]).join(&hex);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("data"), "layer").unwrap();
        dir
    }

    fn set_aside_by_an_earlier_lap(&self, name: &str) {
        let dir = self.registry().join(".lap-prune/blobs").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("data"), "layer").unwrap();
    }
}

fn git(data: &Data) -> Vec<(String, String)> {
    all_of(&data.git())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_place_of_what_is_set_aside_moves_nothing_of_others() {
    let plant = |data: &Data| {
        fs::create_dir(data.registry().join(".lap-prune")).unwrap();
        symlink("../../git", data.registry().join(".lap-prune/blobs")).unwrap();
    };
    let data = Data::new();
    let before = git(&data);
    plant(&data);
    assert_eq!(take_over(&data.registry()).unwrap_err().kind, Kind::Refused);
    put_all_back(&data.registry()).unwrap();
    data.layer('a');
    sweep(&data.registry(), &NOW, &|_| {}).await.unwrap();
    tidy(&data.registry()).unwrap();
    assert_eq!(git(&data), before);
    // The whole of it a link.
    fs::remove_dir_all(data.registry().join(".lap-prune")).unwrap();
    symlink("../git", data.registry().join(".lap-prune")).unwrap();
    take_over(&data.registry()).unwrap();
    put_all_back(&data.registry()).unwrap();
    assert_eq!(git(&data), before);
    assert!(!is_set_aside(&data.registry()), "the registry cannot say that something is pending");

    let control = Data::new();
    plant(&control);
    let _ = control::put_all_back(&control.registry());
    assert_ne!(git(&control), before, "the attack works without the protection");
}

#[test]
fn what_an_earlier_lap_set_aside_comes_back() {
    let data = Data::new();
    let hex = "b".repeat(64);
    data.set_aside_by_an_earlier_lap(&hex);
    take_over(&data.registry()).unwrap();
    take_over(&data.registry()).unwrap();
    assert!(data.store().join("blobs/sha256/bb").join(&hex).join("data").exists());
    assert!(!data.registry().join(".lap-prune").exists());
}

#[test]
fn links_to_themselves_make_no_walk_long() {
    let data = Data::new();
    let infra = data.store().join("repositories/infra");
    for name in ["a", "b", "c"] {
        symlink(".", infra.join(name)).unwrap();
    }
    let error = read_registry(&data.registry()).unwrap_err();
    assert!(error.kind == Kind::Refused && error.message.contains("is a symbolic link"), "{error}");
    assert!(control::walk(&data.registry(), 50_000) >= 50_000, "the attack works without the protection");
}

#[test]
fn a_walk_is_not_deeper_than_names_are() {
    let data = Data::new();
    let deep = data.store().join("repositories").join("d/".repeat(200));
    fs::create_dir_all(deep).unwrap();
    assert!(read_registry(&data.registry()).unwrap_err().message.contains("is deeper than"));
}

/// Each place that is read holds a FIFO.
#[test]
fn a_fifo_keeps_no_prune_waiting() {
    let data = Data::new();
    let hex = "c".repeat(64);
    let digest = format!("sha256:{hex}");
    let image = data.store().join("repositories/infra/none/git");
    let link = image.join("_manifests/revisions/sha256").join(&hex);
    fs::create_dir_all(&link).unwrap();
    fifo(&link.join("link"));
    let tag = image.join("_manifests/tags/latest/current");
    fs::create_dir_all(&tag).unwrap();
    fifo(&tag.join("link"));
    let manifest = data.store().join("blobs/sha256/cc").join(&hex);
    fs::create_dir_all(&manifest).unwrap();
    fifo(&manifest.join("data"));
    let (done, ended) = channel();
    let registry = data.registry();
    std::thread::spawn(move || {
        let found = read_registry(&registry).unwrap().unwrap();
        let removed = remove(&registry, "infra/none/git", &digest).map_err(|error| error.kind);
        done.send((found, removed)).unwrap();
    });
    let (found, removed) = ended.recv_timeout(Duration::from_secs(60)).expect("it waits for the FIFO");
    assert_eq!(found.repositories[0].manifests[0].names, None, "it may name any layer");
    assert_eq!(removed, Err(Kind::Refused));

    let (done, ended) = channel();
    let path = manifest.join("data");
    let planted = path.clone();
    std::thread::spawn(move || done.send(fs::read(planted).is_ok()));
    assert!(ended.recv_timeout(Duration::from_millis(200)).is_err(), "the attack works without the protection");
    drop(fs::OpenOptions::new().write(true).open(path).unwrap());
    ended.recv().unwrap();
}

/// The registry exchanges directories and links to git's data all the time.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_exchanged_all_the_time_leads_a_prune_nowhere() {
    let data = Data::new();
    let before = git(&data);
    let blobs = data.store().join("blobs/sha256");
    data.layer('d');
    symlink(data.git().join("ssh"), blobs.join("link")).unwrap();
    let repositories = data.store().join("repositories/infra");
    fs::create_dir_all(repositories.join("none/git/_manifests/tags/latest/current")).unwrap();
    symlink(data.git(), repositories.join("link")).unwrap();
    symlink(data.git().join("repositories"), data.registry().join(".lap-prune")).unwrap();
    let pairs = [[blobs.join("dd"), blobs.join("link")], [repositories.join("none"), repositories.join("link")]];
    while_swapping(&pairs, || {
        for round in 0..200 {
            // Whatever comes of it: the registry has only itself to blame.
            let _ = read_registry(&data.registry());
            let _ = remove(&data.registry(), "infra/none/git", &format!("sha256:{}", "d".repeat(64)));
            let _ = tidy(&data.registry());
            let _ = put_all_back(&data.registry());
            if round % 50 == 0 {
                assert_eq!(git(&data), before);
            }
        }
    });
    assert_eq!(git(&data), before);
    assert!(Path::new(&data.git()).join("ssh/ssh_host_ed25519_key").exists());
}

//! What removes images and layers from the registry.

use std::{fs, path::Path};

use lap::{agent::prune::registry, wire::prune::PruneRules};

use super::{
    Notes,
    campaign::Campaign,
    pool::{is_one_of, on_each, recovered},
};

/// Nothing is too young to go.
const NOW: PruneRules = PruneRules { keep: 1, keep_failed: 0, grace: 0 };
const IMAGES: usize = 6;
/// So many of them go.
const GO: usize = 3;

fn hex(kind: char, n: usize) -> String {
    format!("{kind}{n:x}").repeat(32)
}

fn put(pool: &Path, path: &str, text: &str) {
    let path = pool.join("data/registry/docker/registry/v2").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn blob(hex: &str) -> String {
    format!("blobs/sha256/{}/{hex}/data", &hex[..2])
}

fn revision(n: usize) -> String {
    format!("repositories/infra/c{n}/git/_manifests/revisions/sha256/{}/link", hex('a', n))
}

/// What each image needs: a manifest, a layer of its own and one that all have.
fn blobs(n: usize) -> [(String, String); 3] {
    let (own, shared) = (hex('b', n), hex('e', 14));
    let manifest = format!(r#"{{"layers": [{{"digest": "sha256:{own}"}}, {{"digest": "sha256:{shared}"}}]}}"#);
    [(hex('a', n), manifest), (own, format!("layer {n} ").repeat(9000)), (shared, "shared ".repeat(9000))]
}

fn recover(pool: &Path) -> Result<(), String> {
    recovered(pool).map(drop)
}

fn prepare(pool: &Path) {
    super::pool::write_all(pool, 1);
    for n in 0..IMAGES {
        put(pool, &revision(n), &format!("sha256:{}", hex('a', n)));
        put(
            pool,
            &format!("repositories/infra/c{n}/git/_manifests/tags/latest/current/link"),
            &format!("sha256:{}", hex('a', n)),
        );
        blobs(n).iter().for_each(|(hex, text)| put(pool, &blob(hex), text));
    }
    // The registry's own directory of unfinished pushes.
    fs::create_dir_all(pool.join("data/registry/docker/registry/v2/repositories/infra/c0/git/_uploads")).unwrap();
}

#[derive(Clone, PartialEq)]
enum Removal {
    Begins(usize),
    Done(usize),
}

fn run(pool: &Path, notes: &Notes<Removal>) {
    let data = pool.join("data/registry");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for n in 0..GO {
        notes.note(Removal::Begins(n));
        registry::remove(&data, &format!("infra/c{n}/git"), &format!("sha256:{}", hex('a', n))).unwrap();
        notes.note(Removal::Done(n));
    }
    runtime.block_on(registry::sweep(&data, &NOW, &|_| {})).unwrap();
    registry::tidy(&data).unwrap();
}

fn check(pool: &Path, notes: &[Removal]) -> Result<(), String> {
    recovered(pool)?;
    let store = pool.join("data/registry/docker/registry/v2");
    for n in 0..IMAGES {
        let is_there = store.join(revision(n)).exists();
        let (begun, done) = (notes.contains(&Removal::Begins(n)), notes.contains(&Removal::Done(n)));
        let allowed: &[bool] = if done {
            &[false]
        } else if begun {
            &[true, false]
        } else {
            &[true]
        };
        is_one_of(&format!("whether image {n} is there"), &is_there, allowed)?;
        let whole =
            blobs(n).iter().all(|(hex, text)| fs::read_to_string(store.join(blob(hex))).is_ok_and(|it| it == *text));
        if is_there && !whole {
            return Err(format!("image {n} is there, and lacks a layer"));
        }
        for (hex, text) in blobs(n) {
            let path = store.join(blob(&hex));
            // Without its file it is no layer for the registry.
            if path.exists() && fs::read_to_string(path).map_err(|error| error.to_string())? != text {
                return Err(format!("the layer {hex} is not whole"));
            }
        }
    }
    if registry::is_set_aside(&pool.join("data/registry")) { Err("layers are set aside".into()) } else { Ok(()) }
}

#[test]
fn a_prune_of_the_registry_leaves_every_image_with_its_layers() {
    on_each(|filesystem| {
        Campaign {
            name: "registry",
            filesystem,
            busy: &["data/registry", "data/.lap-prune"],
            prepare: &prepare,
            run: &run,
            recover: Some(&recover),
            check: &check,
        }
        .play();
    });
}

//! Layers that no image names are removed beside a registry that goes on serving and taking.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use lap::{
    agent::prune::registry::{put_all_back, read_registry, remove, sweep},
    registry::Digest,
    wire::prune::PruneRules,
};

use super::stock::{Authority, Stock, noise};

/// Nothing is too young to go.
const NOW: PruneRules = PruneRules { keep: 1, keep_failed: 0, grace: 0 };

const STEPS: [&str; 3] =
    ["wait for pushes that rely on them", "put back layers that an image needs now", "remove layers"];

/// Its directory, as it is on a node.
fn data(registry: &Stock) -> PathBuf {
    registry.dir.path().join("data")
}

fn blobs(registry: &Stock) -> usize {
    read_registry(&data(registry)).unwrap().unwrap().blobs.len()
}

fn status(registry: &Stock, repository: &str, digest: &Digest) -> String {
    registry.status(&format!("{repository}/blobs/{digest}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_image_names_goes_and_a_push_brings_it_again() {
    let authority = Authority::new();
    let registry = Stock::start(&authority, "test");
    let (base, one, two) = (noise(100_000), noise(1000), noise(2000));
    let stays = registry.image("infra/c1/git", &[&base, &one]);
    let goes = registry.image("infra/c2/git", &[&base, &two]);
    let index = registry.index("people/many", &[&registry.image("people/many", &[&one])]);
    let all = blobs(&registry);

    // An hour has not passed.
    remove(&data(&registry), "infra/c2/git", &goes).unwrap();
    sweep(&data(&registry), &PruneRules { grace: 3600, ..NOW }, &|_| {}).await.unwrap();
    assert_eq!(blobs(&registry), all);
    assert_eq!(registry.status(&format!("infra/c2/git/manifests/{goes}")), "404");

    sweep(&data(&registry), &NOW, &|_| {}).await.unwrap();
    assert_eq!(blobs(&registry), all - 3, "the image, its settings and its own layer");
    registry.has_whole("infra/c1/git", &stays);
    registry.has_whole("people/many", &index);
    assert!(!data(&registry).join(".lap-prune").exists());
    // The registry knows at once what is not there any more, and takes it again.
    assert_eq!(status(&registry, "infra/c2/git", &Digest::of(&two)), "404");
    let again = registry.image("infra/c2/git", &[&base, &two]);
    assert_eq!(again, goes);
    registry.has_whole("infra/c2/git", &goes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_at_the_same_time_is_whole_or_is_refused() {
    let authority = Authority::new();
    let registry = Arc::new(Stock::start(&authority, "test"));
    let stays = registry.image("infra/c1/git", &[&noise(200_000)]);
    // At each step somebody ends a push of a layer that they were told is there.
    let layers: Vec<(String, Vec<u8>)> =
        STEPS.iter().enumerate().map(|(n, _)| (format!("people/{n}"), noise(5000))).collect();
    for (repository, layer) in &layers {
        registry.blob(repository, layer);
    }
    // One that was told before, and writes down its image when the layer is aside: after the registry had looked.
    let late = noise(6000);
    let (named, said) = registry.name_one("people/late", &registry.blob("people/late", &late), late.len());
    assert!(said.ends_with("201"), "{said}");
    let link = registry
        .data()
        .join("repositories/people/late/_manifests/revisions/sha256")
        .join(named.trim_start_matches("sha256:"))
        .join("link");
    let manifest = registry.data().join("blobs/sha256").join(&named[7..9]).join(&named[7..]).join("data");
    let (link_said, manifest_said) = (fs::read(&link).unwrap(), fs::read(&manifest).unwrap());
    fs::remove_file(&link).unwrap();
    // What it names goes with it: only the layer and the settings are left, and nobody names them.

    let said: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let tell = {
        let (registry, said, layers) = (registry.clone(), said.clone(), layers.clone());
        move |step: &str| {
            let at = STEPS.iter().position(|name| *name == step).unwrap();
            let (repository, layer) = &layers[at];
            said.lock().unwrap().push(registry.name_one(repository, &Digest::of(layer), layer.len()));
            if at == 0 {
                fs::create_dir_all(manifest.parent().unwrap()).unwrap();
                fs::write(&manifest, &manifest_said).unwrap();
                fs::write(&link, &link_said).unwrap();
            }
        }
    };
    // Meanwhile somebody pulls, as fast as they can.
    let stop = Arc::new(AtomicBool::new(false));
    let (begins, begun) = std::sync::mpsc::channel();
    let pulling = {
        let (registry, stop, stays) = (registry.clone(), stop.clone(), stays.clone());
        std::thread::spawn(move || {
            let mut slowest = 0;
            let mut pulls = 0;
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let _ = begins.send(());
                registry.has_whole("infra/c1/git", &stays);
                slowest = slowest.max(begun.elapsed().as_millis());
                pulls += 1;
            }
            (pulls, slowest)
        })
    };
    begun.recv().unwrap();
    sweep(&data(&registry), &NOW, &tell).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let (pulls, slowest) = pulling.join().unwrap();
    eprintln!("{pulls} whole pulls meanwhile, the slowest took {slowest} ms");

    let said = said.lock().unwrap();
    assert!(!layers.is_empty() && layers.len() == said.len(), "{} layers, {} answers", layers.len(), said.len());
    for ((repository, layer), (named, said)) in layers.iter().zip(said.iter()) {
        assert!(said.contains("MANIFEST_BLOB_UNKNOWN") && said.ends_with("400"), "{said}");
        // It is sent, as the registry says that it is not there; then it is whole.
        assert_eq!(status(&registry, repository, &Digest::of(layer)), "404");
        registry.blob(repository, layer);
        assert_eq!(registry.name_one(repository, &Digest::of(layer), layer.len()).0, *named);
        registry.has_whole(repository, named);
    }
    registry.has_whole("people/late", &named);
    registry.has_whole("infra/c1/git", &stays);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_everything_is_put_back_or_gone() {
    let authority = Authority::new();
    let registry = Stock::start(&authority, "test");
    let stays = registry.image("infra/c1/git", &[&noise(10_000)]);
    for step in STEPS {
        let layer = noise(3000);
        let digest = registry.blob("people/left", &layer);
        let before = blobs(&registry);
        let dir = data(&registry);
        let killed =
            tokio::spawn(async move { sweep(&dir, &NOW, &|now: &str| assert_ne!(now, step, "killed here")).await });
        assert!(killed.await.unwrap_err().is_panic());
        // The agent's next start.
        put_all_back(&data(&registry)).unwrap();
        assert_eq!(blobs(&registry), before, "{step}");
        assert_eq!(status(&registry, "people/left", &digest), "200", "{step}");
        // The next one removes it.
        sweep(&data(&registry), &NOW, &|_| {}).await.unwrap();
        assert_eq!(blobs(&registry), before - 1, "{step}");
        registry.has_whole("infra/c1/git", &stays);
    }
}

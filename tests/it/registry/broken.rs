//! Registries that are away, connections that break, and processes that are killed in the middle.

use std::{fs, sync::atomic::Ordering};

use lap_base::{Error, Kind};

use super::{
    copied::{image, quiet},
    stock::{Authority, Stock, noise},
    wire::{Then, Wire},
};

const MB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_nothing_shows_and_the_next_goes_on() {
    let authority = Authority::new();
    let test = Stock::start(&authority, "test");
    let layers = [noise(MB), noise(MB), noise(2 * MB)];
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let digest = test.image("c1/git", &layers);
    let images = [image("c1/git", "c1/git", &digest)];
    let mut shown = 0;
    // From the first request to the last.
    for after in [200, 2000, MB / 2, MB + MB / 2, 3 * MB, 4 * MB, 4 * MB + 8000, 4 * MB + 16_000] {
        let prod = Stock::start(&authority, "prod");
        let (from, to) = (Wire::new(), Wire::new());
        let (source, target) = (test.client(&from), prod.client(&to));
        to.on_sent(after as u64, Then::Stops);
        tokio::select! {
            ended = quiet(&source, &target, &images, &[]) => {
                // Past its end: that was all of it.
                ended.unwrap();
                prod.has_whole("c1/git", &digest);
                shown += 1;
                continue;
            }
            () = to.stopped() => {}
        }
        drop((source, target));
        let (from, to) = (Wire::new(), Wire::new());
        // Whoever sees the image sees it whole; by its name only when it is there by its digest.
        match prod.status(&format!("c1/git/manifests/{digest}")).as_str() {
            "200" => prod.has_whole("c1/git", &digest),
            status => {
                assert_eq!(status, "404");
                assert_eq!(prod.status("c1/git/manifests/latest"), "404");
            }
        }
        let done = prod.data().join("blobs/sha256");
        let arrived: u64 = blobs(&done);
        let copied = quiet(&test.client(&from), &prod.client(&to), &images, &[]).await.unwrap();
        prod.has_whole("c1/git", &digest);
        let rest = 4 * MB as u64 - arrived.min(4 * MB as u64) + 20_000;
        assert!(copied.bytes < rest, "{after}: {arrived} had arrived, {} were sent again", copied.bytes);
    }
    assert!(shown < 3, "the kills are not where the work is");
}

/// Bytes of all blobs that are whole.
fn blobs(dir: &std::path::Path) -> u64 {
    let below = |path: std::path::PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = below(dir.to_owned()).flat_map(below).flat_map(below);
    files.map(|file| fs::metadata(file).unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_whose_source_breaks_off_goes_on_where_it_was() {
    let authority = Authority::new();
    let (test, prod) = (Stock::start(&authority, "test"), Stock::start(&authority, "prod"));
    let digest = test.image("git", &[&noise(8 * MB)]);
    let (from, to) = (Wire::new(), Wire::new());
    from.on_received(5 * MB as u64, Then::Breaks);
    let images = [image("git", "git", &digest)];
    quiet(&test.client(&from), &prod.client(&to), &images, &[]).await.unwrap();
    prod.has_whole("git", &digest);
    let received = from.received.load(Ordering::Relaxed);
    assert!(received < 9 * MB as u64, "{received} bytes were read for 8 MB");
    let sent = to.sent.load(Ordering::Relaxed);
    assert!(sent < 9 * MB as u64, "{sent} bytes were sent for 8 MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_whose_target_breaks_off_begins_anew_and_the_others_do_not() {
    let authority = Authority::new();
    let (test, prod) = (Stock::start(&authority, "test"), Stock::start(&authority, "prod"));
    let digest = test.image("git", &[&noise(3 * MB), &noise(3 * MB), &noise(3 * MB), &noise(3 * MB)]);
    let (from, to) = (Wire::new(), Wire::new());
    to.on_sent(10 * MB as u64, Then::Breaks);
    let copied = quiet(&test.client(&from), &prod.client(&to), &[image("git", "git", &digest)], &[]).await.unwrap();
    prod.has_whole("git", &digest);
    assert!(copied.bytes < 16 * MB as u64, "{copied:?}: one layer twice at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_falls_over_or_is_down_is_one_sentence() {
    let authority = Authority::new();
    let (mut test, mut prod) = (Stock::start(&authority, "test"), Stock::start(&authority, "prod"));
    let digest = test.image("git", &[&noise(8 * MB)]);
    let (from, to) = (Wire::new(), Wire::new());
    let (source, target) = (test.client(&from), prod.client(&to));
    let images = [image("git", "git", &digest)];

    // The target, in the middle of a layer, for good.
    to.on_sent(3 * MB as u64, Then::Breaks);
    let dies = async {
        to.stopped().await;
        prod.stop();
    };
    let (copied, ()) = tokio::join!(quiet(&source, &target, &images, &[]), dies);
    is_down(&copied.unwrap_err(), "prod");
    prod.again();
    assert_eq!(prod.status(&format!("git/manifests/{digest}")), "404");

    // The source.
    from.on_received(3 * MB as u64, Then::Breaks);
    let dies = async {
        from.stopped().await;
        test.stop();
    };
    let (copied, ()) = tokio::join!(quiet(&source, &target, &images, &[]), dies);
    is_down(&copied.unwrap_err(), "test");
    assert_eq!(prod.status(&format!("git/manifests/{digest}")), "404");

    // Both are back.
    test.again();
    quiet(&source, &target, &images, &[]).await.unwrap();
    prod.has_whole("git", &digest);
}

#[track_caller]
fn is_down(error: &Error, environment: &str) {
    assert_eq!(error.kind, Kind::Node);
    let message = format!("{environment}: the registry does not answer: Connection refused (os error 111)");
    assert_eq!(error.message, message);
}

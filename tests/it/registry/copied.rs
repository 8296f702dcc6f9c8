//! What arrives, and how many bytes it took.

use std::sync::atomic::Ordering;

use lap::registry::{ImageToCopy, RegistryClient, TransferStats, copy};
use lap_base::Kind;

use super::{
    stock::{Authority, Stock, noise},
    wire::Wire,
};

const MB: usize = 1 << 20;

pub fn image(source: &str, target: &str, digest: &str) -> ImageToCopy {
    ImageToCopy { source: source.into(), target: target.into(), digest: digest.into() }
}

pub async fn quiet(
    from: &RegistryClient,
    to: &RegistryClient,
    images: &[ImageToCopy],
    mount: &[&str],
) -> lap_base::Result<TransferStats> {
    let mount: Vec<String> = mount.iter().map(|name| (*name).to_owned()).collect();
    copy(from, to, images, &mount, &|_: &str| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_missing_travels_and_every_byte_arrives() {
    let authority = Authority::new();
    let (test, prod) = (Stock::start(&authority, "test"), Stock::start(&authority, "prod"));
    let (base, one, two) = (noise(3 * MB), noise(40_000), noise(50_000));
    let (git, dns) = (test.image("infra/c1/git", &[&base, &one]), test.image("infra/c1/dns", &[&base, &two]));
    let (from, to) = (Wire::new(), Wire::new());
    let (source, target) = (test.client(&from), prod.client(&to));
    let images = [image("infra/c1/git", "infra/c1/git", &git), image("infra/c1/dns", "infra/c1/dns", &dns)];

    let first = quiet(&source, &target, &images, &[]).await.unwrap();
    assert_eq!((first.blobs, first.mounted, first.present), (5, 1, 0), "the base is sent once and mounted once");
    prod.has_whole("infra/c1/git", &git);
    prod.has_whole("infra/c1/dns", &dns);
    assert_eq!(prod.manifest_of("infra/c1/dns", "latest"), test.manifest_of("infra/c1/dns", &dns));

    let again = quiet(&source, &target, &images, &[]).await.unwrap();
    assert_eq!((again.blobs, again.mounted, again.present), (0, 0, 6));

    // One layer more, on a layer that only an earlier release has there.
    let (more, before) = (noise(60_000), to.sent.load(Ordering::Relaxed));
    let git = test.image("infra/c2/git", &[&base, &one, &more]);
    let images = [image("infra/c2/git", "infra/c2/git", &git)];
    let next = quiet(&source, &target, &images, &["infra/c1/dns", "infra/c1/git"]).await.unwrap();
    assert_eq!((next.blobs, next.mounted, next.present), (2, 2, 0));
    prod.has_whole("infra/c2/git", &git);
    let sent = to.sent.load(Ordering::Relaxed) - before;
    assert!((60_000..100_000).contains(&sent), "{sent} bytes for 60,000 of difference");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_of_difference_in_two_hundred_moves_little_more_than_that() {
    let authority = Authority::new();
    let (test, prod) = (Stock::start(&authority, "test"), Stock::start(&authority, "prod"));
    let (base, change) = (noise(200 * MB), noise(MB));
    let (wire, to) = (Wire::new(), Wire::new());
    let (source, target) = (test.client(&wire), prod.client(&to));
    let (was, is) = (test.image("infra/c1/git", &[&base]), test.image("infra/c2/git", &[&base, &change]));
    quiet(&source, &target, &[image("infra/c1/git", "infra/c1/git", &was)], &[]).await.unwrap();
    let before = [&to.sent, &to.received, &wire.received].map(|count| count.load(Ordering::Relaxed));
    let images = [image("infra/c2/git", "infra/c2/git", &is)];
    let copied = quiet(&source, &target, &images, &["infra/c1/git"]).await.unwrap();
    let after = [&to.sent, &to.received, &wire.received].map(|count| count.load(Ordering::Relaxed));
    // With TLS, handshakes and heads; to the target, and from the source.
    for (way, (after, before)) in after.into_iter().zip(before).enumerate() {
        assert!(after - before < (MB + MB / 10) as u64, "{way}: {} bytes for a difference of {MB}", after - before);
    }
    assert!(copied.bytes < (MB + MB / 10) as u64 && copied.bytes > MB as u64, "{copied:?}");
    prod.has_whole("infra/c2/git", &is);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_comes_with_its_images() {
    let authority = Authority::new();
    let (test, prod) = (Stock::start(&authority, "test"), Stock::start(&authority, "prod"));
    let (one, two) = (test.image("many", &[&noise(1000)]), test.image("many", &[&noise(2000), &noise(3000)]));
    let index = test.index("many", &[&one, &two]);
    let (from, to) = (Wire::new(), Wire::new());
    quiet(&test.client(&from), &prod.client(&to), &[image("many", "other/many", &index)], &[]).await.unwrap();
    prod.has_whole("other/many", &index);
    prod.has_whole("other/many", &two);
    assert_eq!(prod.manifest_of("other/many", "latest"), test.manifest_of("many", &index));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_environments_certificate_is_not_enough() {
    let authority = Authority::new();
    let (test, prod) = (Stock::start(&authority, "test"), Stock::start(&authority, "prod"));
    let digest = test.image("git", &[&noise(1000)]);
    let (from, to) = (Wire::new(), Wire::new());
    // What should be production's registry shows what test's authority signed.
    let pretender = test.client_trusting(&to, prod.authority());
    let error = quiet(&test.client(&from), &pretender, &[image("git", "git", &digest)], &[]).await.unwrap_err();
    assert_eq!(error.kind, Kind::Keys);
    assert!(error.message.starts_with("the registry of `test` has no valid certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_could_lead_elsewhere_and_images_that_are_not_there_are_refused() {
    let authority = Authority::new();
    let (test, prod) = (Stock::start(&authority, "test"), Stock::start(&authority, "prod"));
    let digest = test.image("git", &[&noise(1000)]);
    let (from, to) = (Wire::new(), Wire::new());
    let (source, target) = (test.client(&from), prod.client(&to));
    for (name, digest) in [("git", "latest"), ("../git", &digest), ("git?a=b", &digest)] {
        let error = quiet(&source, &target, &[image("git", name, digest)], &[]).await.unwrap_err();
        assert_eq!(error.kind, Kind::Usage, "{error}");
    }
    assert_eq!(to.sent.load(Ordering::Relaxed), 0, "told before anything is asked");
    let absent = lap::registry::Digest::of(b"absent").to_string();
    let error = quiet(&source, &target, &[image("git", "git", &absent)], &[]).await.unwrap_err();
    assert_eq!(error.message, format!("the registry of `test` has no image `git@{absent}`"));
}

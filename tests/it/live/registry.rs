//! A node's registry through the agent: images are copied as long as the lock is held.

use std::time::Duration;

use lap::{
    apply::{master::Master, options::Options},
    registry::{ImageToCopy, copy},
    report::Events,
    workspace::Workspace,
};
use lap_base::Kind;
use tokio::sync::watch;

use super::lab::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_is_reached_under_the_lock_and_cut_with_it() {
    let lab = Lab::with_registry("images");
    lab.lap(&["up"]).ok();
    let workspace = std::sync::Arc::new(Workspace::open(&lab.root, Some(&lab.name)).unwrap());
    let environment = workspace.environment(Some("test")).unwrap().clone();
    let master = Master::connect(workspace, &environment, Duration::from_secs(60)).await.unwrap();
    let facts = master.node.client.facts().await.unwrap();
    // `localhost:5000/infra/<commit>/one@sha256:…`
    let reference = facts.images.iter().flat_map(|image| &image.digests).find(|digest| digest.contains("/one@"));
    let (name, digest) = reference.expect("`one` was pushed").split_once('@').unwrap();
    let name = name.strip_prefix("localhost:5000/").unwrap();
    let image = |target: &str| ImageToCopy { source: name.into(), target: target.into(), digest: digest.into() };

    let (_stopper, stop) = watch::channel(false);
    let (events, _heard) = Events::channel();
    let options = Options { dry_run: false, wait: false, events, stop, who: "a test".into(), verb: "copy" };
    let held = master.node.lock(&options).await.unwrap();
    let (from, to) = (master.registry(None).unwrap(), master.registry(Some(held.fence)).unwrap());
    let quiet = |_: &str| {};
    let copied = copy(&from, &to, &[image("copies/one")], &[name.to_owned()], &quiet).await.unwrap();
    assert!(copied.blobs == 0 && copied.mounted > 1, "the same registry has them all: {copied:?}");
    let pulled = format!("localhost:5000/copies/one@{digest}");
    lab.on_node("test", &["docker", "pull", "--quiet", &pulled]).ok();

    // Somebody else's turn: what was opened is cut, and a new connection is refused.
    let held_now = held.fence;
    held.end(Ok(())).await.unwrap();
    let error = copy(&from, &to, &[image("copies/two")], &[], &quiet).await.unwrap_err();
    assert_eq!(error.kind, Kind::Locked, "{error}");
    let stale = master.registry(Some(held_now)).unwrap();
    assert_eq!(copy(&from, &stale, &[image("copies/two")], &[], &quiet).await.unwrap_err().kind, Kind::Locked);
    let there = "/data/registry/docker/registry/v2/repositories/copies";
    assert_eq!(lab.on_node("test", &["ls", there]).ok().trim(), "one");

    // The registry is down: said by the agent, not guessed.
    lab.on_node("test", &["docker", "stop", "infra_registry"]).ok();
    let error = copy(&from, &from, &[image("copies/two")], &[], &quiet).await.unwrap_err();
    assert_eq!(error.kind, Kind::Node);
    assert!(error.message.contains("the registry does not answer"), "{error}");
}

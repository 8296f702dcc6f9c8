//! A node's registry: lap's own way through the agent, and the two ports for other clients.

use std::time::Duration;

use lap::{
    apply::{master::Master, options::Options, registry::Door},
    registry::{ImageToCopy, copy},
    report::Events,
    workspace::Workspace,
};
use lap_base::Kind;
use tokio::sync::watch;

use super::{
    lab::{Lab, run},
    promote::{change_two, prod, says},
};

const PROMOTE: [&str; 4] = ["promote", "--yes", "--settle", "0s"];

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
    let registry = master.workspace.lab.containers.get("registry");
    let door = Door::of(registry, master.keys.as_deref(), "test").unwrap();
    assert!(matches!(door, Door::Guarded(_)));
    let held = master.node.lock(&options).await.unwrap();
    let (from, to) = (master.registry().unwrap(), master.registry_to_write(held.fence, &door).unwrap());
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
    let stale = master.registry_to_write(held_now, &door).unwrap();
    assert_eq!(copy(&from, &stale, &[image("copies/two")], &[], &quiet).await.unwrap_err().kind, Kind::Locked);
    let there = "/data/registry/docker/registry/v2/repositories/copies";
    assert_eq!(lab.on_node("test", &["ls", there]).ok().trim(), "one");

    // The registry is down: said by the agent, not guessed.
    lab.on_node("test", &["docker", "stop", "infra_registry"]).ok();
    let error = copy(&from, &from, &[image("copies/two")], &[], &quiet).await.unwrap_err();
    assert_eq!(error.kind, Kind::Node);
    assert!(error.message.contains("the registry does not answer"), "{error}");
}

/// A program on the node of `test`.
fn node(lab: &Lab, script: &str) -> (i32, String) {
    let ran = lab.on_node("test", &["sh", "-c", script]);
    (ran.code, format!("{}{}", ran.out, ran.err))
}

/// The status of a request from this machine.
fn status(lab: &Lab, method: &str, url: &str, more: &[&str]) -> String {
    let root = lab.root.join(".lap/keys/root.crt").display().to_string();
    let mut arguments = vec!["--silent", "--cacert", &root, "--request", method, "--output", "/dev/null"];
    arguments.extend(["--max-time", "20", "--write-out", "%{http_code}", url]);
    arguments.extend(more);
    run("curl", &arguments).out
}

#[test]
fn others_read_and_only_the_password_of_the_environment_writes() {
    let lab = Lab::with_registry("doors");
    lab.add_prod("description = \"real\"\npromote_from = \"test\"\n");
    lab.lap(&["up"]).ok();
    let address = lab.address("test");
    let login = |environment: &str| {
        let file = lab.root.join(format!(".lap/keys/{environment}/registry.password"));
        format!("lap:{}", std::fs::read_to_string(file).unwrap().trim())
    };
    let (test, other) = (login("test"), login("prod"));

    // From another machine: reading, and nothing else, also with the password. The other port is not there.
    let at = format!("https://{address}:5000/v2/");
    for user in [&[][..], &["--user", &test]] {
        assert_eq!(status(&lab, "GET", &at, user), "200");
        for (method, path) in [
            ("POST", "any/blobs/uploads/"),
            ("PUT", "any/manifests/latest"),
            ("DELETE", "any/manifests/sha256:0000000000000000000000000000000000000000000000000000000000000000"),
            ("DELETE", "any/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000"),
        ] {
            assert_eq!(status(&lab, method, &format!("{at}{path}"), user), "405", "{method} {path}");
        }
    }
    assert_eq!(status(&lab, "GET", &format!("https://{address}:5001/v2/"), &["--user", &test]), "000");

    // On the node, with the stock client: not without a password, not with another environment's.
    node(&lab, "docker tag infra/one localhost:5000/any/one:1 && docker tag infra/one 127.0.0.1:5001/any/one:1");
    let (code, said) = node(&lab, "docker push --quiet localhost:5000/any/one:1");
    assert_ne!(code, 0, "{said}");
    let (code, said) = node(&lab, "docker push --quiet 127.0.0.1:5001/any/one:1");
    assert!(code != 0 && said.contains("no basic auth credentials"), "{said}");
    let push = |login: &str| {
        let (user, password) = login.split_once(':').unwrap();
        let docker = "docker --config /run/a-test";
        let (code, said) = node(
            &lab,
            &format!("printf %s {password} | {docker} login --username {user} --password-stdin 127.0.0.1:5001"),
        );
        if code != 0 {
            assert!(said.contains("401"), "{said}");
        }
        node(&lab, &format!("{docker} push --quiet 127.0.0.1:5001/any/one:1")).0
    };
    assert_ne!(push(&other), 0);
    assert_ne!(push(&format!("{test}x")), 0);
    assert_eq!(push(&test), 0);
    let (code, said) = node(&lab, "docker rmi localhost:5000/any/one:1 && docker pull localhost:5000/any/one:1");
    assert_eq!(code, 0, "{said}");
    // No container sees the password, and nothing of lap's shows it.
    let password = test.split_once(':').unwrap().1;
    let shown = "docker inspect $(docker ps --all --quiet); cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; docker logs infra_registry 2>&1; \
                 docker exec infra_registry /bin/busybox sh -c 'cat /run/secrets/*'; journalctl 2>/dev/null; cat /var/lib/lap/pool/state/*.json*";
    let (_, shown) = node(&lab, shown);
    assert!(shown.contains("infra_registry") && !shown.contains(password));

    // A push that was killed before Docker got the image by the address for readers: the next `lap up` completes it.
    // The same image is in the registry under another name, which is not lap's.
    let killed = "set -eu; docker rmi 127.0.0.1:5001/any/one:1; docker inspect infra/one | grep localhost:5000/any/one@\n\
                  name=$(docker images --format '{{.Repository}}' | grep '^localhost:5000/infra/.*/one$' | head -n 1)\n\
                  there=127.0.0.1:5001/${name#localhost:5000/}; docker tag $name $there\n\
                  docker --config /run/a-test push --quiet $there && docker rmi $name";
    assert_eq!(node(&lab, killed).0, 0);
    let one = |line: &str| line.starts_with("localhost:5000/infra/") && line.contains("/one@sha256:");
    let names = || node(&lab, "docker images --digests --format '{{.Repository}}@{{.Digest}}' | grep /infra/").1;
    assert!(names().contains("127.0.0.1:5001/infra/") && !names().lines().any(one), "{}", names());
    lab.lap(&["up"]).ok();
    assert!(!names().contains("127.0.0.1:5001/") && names().lines().any(one), "{}", names());

    node(&lab, "docker tag infra/one 127.0.0.1:5001/any/one:1");

    // Another password: the registry takes it with the next `lap up`, and lap pushes with it.
    lab.write(".lap/keys/test/registry.password", "another-password-of-the-registry\n");
    lab.write("containers/one/say", "changed\n");
    lab.lap(&["up"]).ok();
    assert_ne!(push(&test), 0);
    assert_eq!(push("lap:another-password-of-the-registry"), 0);

    // A definition of an earlier lap: everybody writes, and lap still works with it.
    earlier_definition(&lab);
    lab.write("containers/one/say", "changed again\n");
    lab.lap(&["up"]).ok();
    assert_eq!(
        status(&lab, "POST", &format!("{at}any/blobs/uploads/"), &[]),
        "202",
        "the attack works without the protection"
    );
}

/// The registry of an earlier lap: one port, which takes images from every client.
fn earlier_definition(lab: &Lab) {
    lab.edit("containers/registry/container.toml", ", \"127.0.0.1:5001:5001\"", "");
    lab.edit("containers/registry/container.toml", ", \"registry.htpasswd\"", "");
    lab.edit("containers/registry/read.yml", "    readonly:\n      enabled: true\n", "");
    lab.write("containers/registry/serve", "exec /usr/bin/docker-registry serve /etc/docker/registry/read.yml\n");
    lab.edit("containers/registry/container.toml", "5000 5001", "5000");
}

#[test]
fn a_registry_of_an_earlier_lap_takes_images_until_it_is_replaced() {
    let lab = Lab::two_environments("earlier");
    lab.take_registry();
    earlier_definition(&lab);
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    let first = lab.git(&["rev-parse", "HEAD"]);
    let open = || status(&lab, "POST", &format!("https://{}:5000/v2/any/blobs/uploads/", lab.address("prod")), &[]);
    assert_eq!(open(), "202");

    // The new definition: the earlier registry of prod takes the images of the release that replaces it.
    lab.take_registry();
    change_two(&lab, "second", "true");
    lab.lap(&PROMOTE).ok();
    assert_eq!((says(&lab, "two").as_str(), open().as_str()), ("two, second", "405"));
    // The new one takes those of the next.
    change_two(&lab, "third", "true");
    lab.lap(&PROMOTE).ok();
    assert_eq!(says(&lab, "two"), "two, third");

    // The earlier one comes back with its release, and is replaced again.
    lab.lap(&["rollback", "1", "--yes", "--settle", "0s"]).ok();
    assert_eq!(
        (prod(&lab, "docker inspect --format '{{index .Config.Labels \"lap.commit\"}}' infra_registry"), open()),
        (first, "202".into())
    );
    lab.lap(&PROMOTE).ok();
    assert_eq!((says(&lab, "two").as_str(), open().as_str()), ("two, third", "405"));
    assert!(lab.lap(&["up", "prod"]).ok().contains("Nothing to do"));
}

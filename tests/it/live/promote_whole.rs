//! A promotion in a lab that has registries and git: images by digest, the commit in production's git, and the way back.

use super::{
    consent::typing,
    lab::Lab,
    promote::{EACH_STEP, kill_at, steps},
};

fn on(lab: &Lab, node: &str, script: &str) -> String {
    lab.on_node(node, &["sh", "-c", script]).ok().trim().to_owned()
}

fn prod(lab: &Lab, script: &str) -> String {
    on(lab, "prod", script)
}

/// In production's copy of the lab's own repository.
fn git(lab: &Lab, arguments: &str) -> String {
    prod(lab, &format!("docker exec --user git infra_git git -C /data/repositories/lap.git {arguments}"))
}

/// The references of the image that a container runs from.
fn references(lab: &Lab, node: &str, container: &str) -> String {
    on(
        lab,
        node,
        &format!(
            "docker image inspect --format '{{{{.RepoDigests}}}}' $(docker inspect --format '{{{{.Image}}}}' infra_{container})"
        ),
    )
}

fn change_two(lab: &Lab, text: &str) -> String {
    lab.write(
        "containers/two/Dockerfile",
        &format!("FROM infra/one\nRUN echo two, {text} > /say\nCMD [\"/bin/sh\", \"-c\", \"trap exit TERM; sleep infinity & wait\"]\n"),
    );
    lab.commit();
    lab.lap(&["up"]).ok();
    lab.git(&["rev-parse", "HEAD"])
}

const PROMOTE: [&str; 4] = ["promote", "--yes", "--settle", "1s"];

#[test]
fn images_by_digest_and_the_commit_in_git() {
    let lab = Lab::with_git("promote-whole");
    lab.lap(&["up", "--all"]).ok();
    let first = lab.git(&["rev-parse", "HEAD"]);

    // The first promotion brings the whole history, the image's own layer only.
    let second = change_two(&lab, "second");
    let said = lab.lap(&PROMOTE).ok();
    assert_eq!(git(&lab, "rev-parse master"), second);
    git(&lab, "fsck --strict");
    assert_eq!(git(&lab, "rev-list --count master"), lab.git(&["rev-list", "--count", "HEAD"]));
    let tested = references(&lab, "test", "two");
    let reference = format!("localhost:5000/infra/{second}/two@sha256:");
    assert!(tested.contains(&reference), "{tested}");
    assert_eq!(references(&lab, "prod", "two"), tested, "the very same image");
    let sent = said.lines().find(|line| line.contains(" of images; ")).unwrap();
    assert!(sent.contains(" KiB of") || sent.contains(" B of") || sent.contains("KB of"), "only its layer: {sent}");
    let shown = lab.lap(&["release", "show", "2", "--json"]).ok();
    assert!(shown.contains(&reference), "{shown}");

    // Git itself is replaced: the branch moves in the new one.
    lab.edit("containers/git/container.toml", "stop_grace_period = \"2s\"", "stop_grace_period = \"3s\"");
    let third = change_two(&lab, "third");
    let said = lab.lap(&PROMOTE).ok();
    assert!(said.contains("replace `git`"), "{said}");
    let felt = said.lines().find(|line| line.contains(":2200: ")).unwrap_or_else(|| panic!("nobody asked git: {said}"));
    assert!(felt.contains(" request") && felt.contains("failed"), "{felt}");
    assert_eq!(git(&lab, "rev-parse master"), third);

    // Back, to an image that only the registry has any more; the branch goes back, and what was there keeps a name.
    prod(&lab, "docker image prune --all --force >/dev/null");
    let said = lab.lap(&["rollback", "--yes", "--settle", "1s"]).ok();
    assert!(said.contains(" ms in the last promotion."), "how long git was away was measured: {said}");
    assert_eq!(prod(&lab, "docker exec infra_two cat /say"), "two, second");
    assert_eq!(references(&lab, "prod", "two"), tested);
    assert_eq!(git(&lab, "rev-parse master"), second);

    // Once more, without git in it: then nothing but the branch goes back.
    lab.edit("containers/git/container.toml", "stop_grace_period = \"3s\"", "stop_grace_period = \"2s\"");
    let fourth = change_two(&lab, "fourth");
    lab.lap(&PROMOTE).ok();
    assert_eq!(git(&lab, "rev-parse master"), fourth);
    lab.lap(&["rollback", "--yes", "--settle", "1s"]).ok();
    assert_eq!(git(&lab, "rev-parse master"), second);
    assert_eq!(git(&lab, "rev-parse refs/lap/before-rollback/4"), fourth);

    // Never what would lose commits of production's.
    lab.lap(&["rollback", "4", "--yes", "--settle", "1s"]).ok();
    assert_eq!(git(&lab, "rev-parse master"), fourth);
    lab.git(&["reset", "--quiet", "--hard", &first]);
    change_two(&lab, "another");
    let refused = lab.lap(&PROMOTE).fails(10);
    assert!(refused.contains("promoting it would lose commits"), "{refused}");
    lab.git(&["reset", "--quiet", "--hard", &fourth]);
    change_two(&lab, "fifth");

    // A registry that does not run is said before anything is done.
    prod(&lab, "docker pause infra_registry");
    let refused = lab.lap(&PROMOTE).fails(10);
    assert!(refused.contains("the registry of `prod` is paused"), "{refused}");
    assert_eq!(prod(&lab, "docker exec infra_two cat /say"), "two, fourth");
    prod(&lab, "docker unpause infra_registry");
    lab.lap(&PROMOTE).ok();
    assert_eq!(prod(&lab, "docker exec infra_two cat /say"), "two, fifth");
    lab.lap(&["release", "ledger", "verify"]).ok();

    // What a colleague pushed is promoted without having been fetched, by an operator who saw it and agreed.
    let here = lab.git(&["rev-parse", "HEAD"]);
    lab.edit("containers/two/Dockerfile", "two, fifth", "two, sixth");
    lab.commit();
    let pushed = lab.git(&["rev-parse", "HEAD"]);
    lab.push();
    lab.git(&["reset", "--quiet", "--hard", &here]);
    lab.git(&["reflog", "expire", "--expire=all", "--all"]);
    lab.git(&["prune", "--expire=now"]);
    let refused = lab.lap(&PROMOTE).fails(10);
    assert!(refused.contains(&format!("this clone does not contain {}", &pushed[..12])), "{refused}");
    let said = typing(&lab, &["promote", "--settle", "1s"], "y\ny\n");
    assert!(said.code == 0 && said.out.contains("containers/two/Dockerfile +1 -1"), "{said:?}");
    assert_eq!(git(&lab, "rev-parse master"), pushed);
    assert_eq!(prod(&lab, "docker exec infra_two cat /say"), "two, sixth");

    // The one step that a lab without git does not have; killed before it and after it, the branch is where it was.
    let told = steps(&lab);
    let settles = |step: &String| step.starts_with("watch the release for");
    let own: Vec<&String> = told.iter().filter(|step| !settles(step) && !EACH_STEP.contains(&step.as_str())).collect();
    assert_eq!(own, ["move `master` of `lap`"]);
    // The next commit follows what production has.
    lab.git(&["reset", "--quiet", "--hard", &pushed]);
    change_two(&lab, "seventh");
    for node in [false, true] {
        for step in ["move `master` of `lap`", "ask the client to confirm the release"] {
            kill_at(&lab, node, step);
            assert_eq!(git(&lab, "rev-parse master"), pushed, "killed at {step}");
            assert_eq!(prod(&lab, "docker exec infra_two cat /say"), "two, sixth", "killed at {step}");
        }
    }
}

//! What is pushed to the lab's own repository is built on the node, with stock git and nothing else on the pusher's side.

use std::process::{Child, Command, Stdio};

use super::lab::{Lab, until_or};

fn push(lab: &Lab) -> String {
    lab.push()
}

fn begin(lab: &Lab) -> Child {
    lab.push_command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn heard(child: Child) -> String {
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr).into_owned()
}

fn test(lab: &Lab, script: &str) -> String {
    lab.on_node("test", &["sh", "-c", script]).ok().trim().to_owned()
}

fn says(lab: &Lab) -> String {
    test(lab, "docker exec infra_two cat /say")
}

/// Commits a `two` that says this; `before` is a line of its Dockerfile.
fn commit_two(lab: &Lab, text: &str, before: &str) -> String {
    lab.write(
        "containers/two/Dockerfile",
        &format!("FROM infra/one\n{before}\nRUN echo two, {text} > /say\nCMD [\"/bin/sh\", \"-c\", \"trap exit TERM; sleep infinity & wait\"]\n"),
    );
    lab.commit();
    lab.git(&["rev-parse", "HEAD"])
}

fn until(lab: &Lab, what: &str, holds: impl Fn() -> bool) {
    until_or(holds, || format!("{what}: {}", lab.lap(&["status"]).out));
}

#[test]
fn what_is_pushed_is_built_started_and_checked() {
    let lab = Lab::with_git("push");
    lab.lap(&["up"]).ok();

    let commit = commit_two(&lab, "pushed", "");
    let said = push(&lab);
    assert!(said.contains(&format!("remote: `test` runs {}: ", &commit[..12])), "{said}");
    assert_eq!(says(&lab), "two, pushed");
    let status = lab.lap(&["status"]).ok();
    assert!(status.contains(&format!("push: {} by admin@git runs and passed its checks", &commit[..12])), "{status}");
    assert!(test(&lab, "cat /var/lib/lap/pool/state/current.json").contains(&commit));
    // The operator's machine, at the same commit, finds all as it would have made it.
    let plan = lab.lap(&["up", "--dry-run"]).ok();
    assert!(plan.starts_with("Nothing to do"), "{plan}");

    // A check that fails: what was pushed stays, to be looked at.
    lab.write("containers/two/checks/says", "#!/bin/sh\necho it says something else; exit 1\n");
    lab.executable("containers/two/checks/says");
    let commit = commit_two(&lab, "wrong", "");
    let said = push(&lab);
    assert!(said.contains("remote: error: the check `two/says` fails: it says something else"), "{said}");
    assert_eq!(says(&lab), "two, wrong");
    let status = lab.lap(&["status"]);
    assert!(status.out.contains(&format!("push: {} by admin@git failed", &commit[..12])), "{}", status.out);

    // Asked for, it is put back with the data it had.
    lab.edit("env/test/env.toml", "description", "on_failure = \"restore\"\ndescription");
    lab.write("containers/two/checks/says", "#!/bin/sh\ntest ! -e /data/spoiled\n");
    let commit = commit_two(&lab, "good", "");
    // All containers see the environment's files, so git itself is replaced, last: the link may end, the building goes on.
    let said = heard(begin(&lab));
    assert!(said.contains("git itself is replaced") || said.contains("remote: `test` runs"), "{said}");
    let done = format!("push: {} by admin@git runs", &commit[..12]);
    until(&lab, "the good one is built", || lab.lap(&["status"]).out.contains(&done));
    test(&lab, "echo old >/data/two/file");
    lab.write(
        "containers/two/Dockerfile",
        "FROM infra/one\nRUN echo two, bad > /say\nCMD [\"/bin/sh\", \"-c\", \"touch /data/spoiled; trap exit TERM; sleep infinity & wait\"]\n",
    );
    lab.commit();
    let said = push(&lab);
    assert!(said.contains("the check `two/says` fails") && said.contains("with the data of"), "{said}");
    assert_eq!(
        (says(&lab).as_str(), test(&lab, "cat /data/two/*").as_str()),
        ("two, good", "old"),
        "{said} {}",
        test(
            &lab,
            "docker ps -a; docker images; cat /var/lib/lap/pool/state/current.json | grep -n commit; tail -40 /var/lib/lap/pool/state/journal.jsonl"
        )
    );
    lab.healthy();

    // What cannot be built says why, and nothing changes.
    commit_two(&lab, "never", "RUN echo because; exit 3");
    let said = push(&lab);
    assert!(said.contains("remote: error: cannot build `two`") && said.contains("because"), "{said}");
    assert_eq!(says(&lab), "two, good");

    // What only an operator can give is said.
    commit_two(&lab, "certified", "");
    lab.edit("containers/two/container.toml", "\n", "\nsecrets = [\"tls.crt\", \"tls.key\"]\n");
    lab.commit();
    let said = push(&lab);
    assert!(said.contains("`two` needs the secret `tls.crt`, which only an operator can install"), "{said}");

    // No workspace at all.
    let good = std::fs::read_to_string(lab.root.join("lap.toml")).unwrap();
    lab.write("lap.toml", "lab = 5\n");
    lab.commit();
    let said = push(&lab);
    assert!(said.contains("lap.toml:1: lab: expected a string"), "{said}");
    assert_eq!(says(&lab), "two, good");
    // It is removed as what it is.
    lab.write("lap.toml", &good);
}

#[test]
fn the_newest_wins_and_a_killed_agent_goes_on() {
    let lab = Lab::with_git("push-queue");
    lab.lap(&["up"]).ok();
    // A step that ends when the test says so; Docker remembers one that it has done before.
    let waits = |nth: &str| format!("RUN echo {nth}; /bin/sleep 7654; true");
    let building = || !test(&lab, "pgrep -f 'sleep 765[4]' || true").is_empty();
    let go_on = || test(&lab, "pkill -f 'sleep 765[4]' || true");
    let came = |commit: &str| test(&lab, "cat /var/lib/lap/pool/state/push.json").contains(commit);

    // While one is built two more come: the second never is.
    let first = commit_two(&lab, "first", &waits("first"));
    let one = begin(&lab);
    until(&lab, "the first is built", building);
    let second = commit_two(&lab, "second", "");
    let two = begin(&lab);
    until(&lab, "the second has come", || came(&second));
    let third = commit_two(&lab, "third", "");
    let three = begin(&lab);
    until(&lab, "the third has come", || came(&third));
    go_on();
    let (one, two, three) = (heard(one), heard(two), heard(three));
    assert!(one.contains(&format!("runs {}", &first[..12])), "{one}");
    assert!(two.contains(&format!("not built: {} is newer", &third[..12])), "{two}");
    assert!(!two.contains(&format!("runs {}", &second[..12])), "{two}");
    assert!(three.contains(&format!("runs {}", &third[..12])), "{three}");
    assert_eq!(says(&lab), "two, third");

    // The agent dies in the middle: it goes on by itself, nobody pushes again.
    let fourth = commit_two(&lab, "fourth", &waits("fourth"));
    let pushing = begin(&lab);
    until(&lab, "the fourth is built", building);
    test(&lab, "kill -9 $(pgrep -f 'agent [r]un')");
    heard(pushing);
    let done = format!("push: {} by admin@git runs", &fourth[..12]);
    until(&lab, "the fourth is built after all", || {
        go_on();
        lab.lap(&["status"]).out.contains(&done)
    });
    assert_eq!(says(&lab), "two, fourth");

    // Other branches are free, and other repositories nobody's business.
    let url = format!("ssh://git@{}:2200/lap", lab.address("test"));
    let ssh = lab.push_command().get_envs().find_map(|(_, value)| value).unwrap().to_owned();
    let output = Command::new("git")
        .args(["push", &url, "HEAD:refs/heads/idea"])
        .current_dir(&lab.root)
        .env("GIT_SSH_COMMAND", ssh)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("runs"), "{said}");
}

//! What another environment's node says, and what an operator agreed to: nothing of a commit runs, and no definition counts, on the word of
//! the node it was tested on.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use lap::{release::desired_state::DesiredState, release::manifest::ReleaseManifest};

use super::{
    lab::{Lab, Ran, until},
    promote::{change_two, prod, says, started, until_healthy},
};

/// Runs `lap` on a terminal of its own, which types this.
pub fn typing(lab: &Lab, arguments: &[&str], typed: &str) -> Ran {
    let plain = lab.command(arguments);
    let words: Vec<String> =
        std::iter::once(plain.get_program()).chain(plain.get_args()).map(|word| word.display().to_string()).collect();
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--flush", "--command", &words.join(" "), "/dev/null"]);
    command.current_dir(&lab.root).env("LAP_LAB", &lab.name).env("SHELL", "/bin/sh");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Its end would be the end of the terminal: it stays open until the program has ended.
    let mut input = child.stdin.take().unwrap();
    input.write_all(typed.as_bytes()).unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    drop(input);
    ran
}

/// The workspace and test at a commit with a hook, and the clone without it: only the commit's objects are there.
fn forget(lab: &Lab, commit: &str) {
    lab.git(&["reset", "--quiet", "--hard", &format!("{commit}~1")]);
}

#[test]
fn nothing_of_a_commit_runs_before_somebody_agreed_to_it() {
    let lab = Lab::two_environments("consent");
    lab.lap(&["up", "--all"]).ok();
    let ran = lab.root.join(".lap/ran");
    lab.write("scripts/promote/before-plan", "#!/bin/sh\ntouch \"$LAP_WORKSPACE/.lap/ran\"\n");
    lab.executable("scripts/promote/before-plan");
    change_two(&lab, "second", "true");
    let second = lab.git(&["rev-parse", "HEAD"]);
    forget(&lab, &second);

    // Neither `--yes` nor a missing terminal is a consent.
    let refused = lab.lap(&["promote", "--yes", "--settle", "0s"]).fails(10);
    assert!(refused.contains(&format!("this clone does not contain {}", &second[..12])), "{refused}");
    assert!(refused.contains("shows the commit and asks"), "{refused}");
    assert!(lab.lap(&["promote"]).fails(2).contains("there is no terminal"));
    assert!(!ran.exists());
    let shown = lab.lap(&["promote", "--dry-run"]).ok();
    assert!(shown.contains(&format!("commit   {second}")) && shown.contains("author   t <t@internal>"), "{shown}");
    assert!(shown.contains("  scripts/promote/before-plan +2 -0\n"), "{shown}");
    assert!(shown.contains("+ touch \"$LAP_WORKSPACE/.lap/ran\"") && shown.contains("replace `two`"), "{shown}");
    assert!(shown.contains("Hooks of that commit: `before-plan`"), "{shown}");
    assert!(!ran.exists());

    // Asked: no is no. Then yes, and the plan's own question.
    let said = typing(&lab, &["promote", "--settle", "0s"], "n\n");
    assert!(said.code == 130 && said.out.contains("Agree to this commit? [y/N]"), "{said:?}");
    assert!(!ran.exists());
    let said = typing(&lab, &["promote", "--settle", "0s"], "y\nn\n");
    assert!(said.code == 130 && said.out.contains("Change `prod`? [y/N]") && ran.exists(), "{said:?}");
    assert_eq!(says(&lab, "two"), "two");
    fs::remove_file(&ran).unwrap();
    // The yes is remembered.
    assert_eq!(lab.git(&["rev-parse", &format!("refs/lap/agreed/{second}")]), second);
    let said = lab.lap(&["promote", "--yes", "--settle", "0s"]).ok();
    assert!(said.contains("New lines in `scripts/promote/`") && ran.exists(), "{said}");
    assert_eq!(says(&lab, "two"), "two, second");
    fs::remove_file(&ran).unwrap();

    // An operator's signature is one, too.
    lab.git(&["config", "gpg.format", "ssh"]);
    lab.git(&["config", "user.signingKey", &lab.root.join(".lap/keys/admin").display().to_string()]);
    lab.git(&["merge", "--quiet", "--ff-only", &second]);
    lab.write("scripts/promote/note.md", "later\n");
    lab.git(&["add", "--all"]);
    let who = ["-c", "user.name=t", "-c", "user.email=t@internal"];
    lab.git(&[&who[..], &["commit", "--quiet", "--message=x", "--gpg-sign"]].concat());
    let third = lab.git(&["rev-parse", "HEAD"]);
    lab.lap(&["up"]).ok();
    forget(&lab, &third);
    let said = lab.lap(&["promote", "--yes", "--settle", "0s"]).ok();
    assert!(said.contains("`test` runs a commit that `admin` signed"), "{said}");
    assert!(ran.exists());
}

#[test]
fn what_test_says_it_runs_is_compared_with_the_commit() {
    let lab = Lab::two_environments("recompute");
    lab.lap(&["up", "--all"]).ok();
    change_two(&lab, "second", "true");
    let path = "/var/lib/lap/pool/state/current.json";
    let text = lab.on_node("test", &["cat", path]).ok();

    // Root on test has it record, and run, a container that reaches all of its node.
    let mut current: ReleaseManifest = serde_json::from_str(&text).unwrap();
    let mut forged: serde_json::Value = serde_json::from_str(&text).unwrap();
    let volume = serde_json::json!([{ "source": "/", "target": "/host", "read_only": false }]);
    forged["containers"]["two"]["cap_add"] = serde_json::json!(["SYS_PTRACE"]);
    forged["containers"]["two"]["volumes"] = volume;
    current.containers = serde_json::from_value(forged["containers"].clone()).unwrap();
    let desired = DesiredState::from(current);
    let spec = desired.spec(&desired.containers["two"]);
    let script = format!(
        "cat >{path} && docker rm --force infra_two >/dev/null && docker run --detach --name infra_two \
         --label lap.container=two --label lap.spec={spec} --volume /:/host infra/two"
    );
    feed(&lab, "test", &script, &forged.to_string());

    let before = (started(&lab, "two"), prod(&lab, "cat /var/lib/lap/pool/state/current.json"));
    for arguments in [&["promote", "--yes", "--settle", "0s"][..], &["promote", "--dry-run"]] {
        let refused = lab.lap(arguments).fails(10);
        assert!(refused.contains("`test` does not run what commit "), "{refused}");
        assert!(refused.contains("`two`: cap_add, volumes"), "{refused}");
    }
    assert_eq!((started(&lab, "two"), prod(&lab, "cat /var/lib/lap/pool/state/current.json")), before);

    // Control: what the commit says.
    lab.lap(&["up"]).ok();
    lab.lap(&["promote", "--yes", "--settle", "0s"]).ok();
    assert_eq!(says(&lab, "two"), "two, second");

    // What a container may do that it could not before is a line of the plan.
    let text = fs::read_to_string(lab.root.join("lap.toml")).unwrap();
    lab.write("lap.toml", &format!("{text}[grants]\ntwo = [\"cap_add: SYS_PTRACE\"]\n"));
    lab.edit("containers/two/container.toml", "depends_on", "cap_add = [\"SYS_PTRACE\"]\ndepends_on");
    lab.commit();
    lab.lap(&["up"]).ok();
    let plan = lab.lap(&["promote", "--dry-run"]).ok();
    assert!(plan.contains("Note: new grants of lap.toml: `two` gets `cap_add: SYS_PTRACE`."), "{plan}");
}

#[test]
fn a_watcher_runs_no_hook_of_a_commit_that_the_clone_does_not_contain() {
    let lab = Lab::two_environments("watched");
    lab.lap(&["up", "--all"]).ok();
    let text = "#!/bin/sh\ncd \"$LAP_WORKSPACE/.lap\"\necho x >>ran\nwhile test -e hold; do sleep 0.1; done\n";
    lab.write("scripts/promote/after-switch", text);
    lab.executable("scripts/promote/after-switch");
    change_two(&lab, "second", "true");
    let second = lab.git(&["rev-parse", "HEAD"]);
    lab.write(".lap/hold", "");
    let mut promoting = lab.start(&["promote", "--yes", "--settle", "0s"]);
    let ran = || fs::read_to_string(lab.root.join(".lap/ran")).unwrap_or_default();
    promoting.until("the hook runs", || ran() == "x\n");
    promoting.kill();
    fs::remove_file(lab.root.join(".lap/hold")).unwrap();
    forget(&lab, &second);
    let refused = lab.lap(&["promote", "--resume"]).fails(10);
    assert!(refused.contains(&format!("the hooks of {} do not run here", &second[..12])), "{refused}");
    assert_eq!(ran(), "x\n");
    // No operator with the commit came: what ran before runs.
    until_healthy(&lab);
    until("it is taken back", || says_or_nothing(&lab) == "two");
}

/// In the middle of a switch it may not run.
fn says_or_nothing(lab: &Lab) -> String {
    prod(lab, "docker exec infra_two cat /say 2>/dev/null || true")
}

/// A shell on a node, fed with this.
fn feed(lab: &Lab, node: &str, script: &str, input: &str) {
    let mut command = Command::new("docker");
    command.args(["exec", "--interactive", &lab.node(node), "sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
}

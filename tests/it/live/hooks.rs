//! Programs of the workspace that are run around a promotion, and may stop it.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{
    lab::{Lab, run, until},
    promote::{change_two, prod, says, started, until_healthy},
};

const HOOKS: [&str; 8] = [
    "before-plan",
    "after-plan",
    "before-bring",
    "after-bring",
    "before-switch",
    "after-switch",
    "before-done",
    "after-done",
];
const PROMOTE: [&str; 4] = ["promote", "--yes", "--settle", "0s"];

/// Writes down that it runs and what it is told; waits while it is held; fails where it is wanted.
const TEXT: &str = "#!/bin/sh\nname=${0##*/}\ncd \"$LAP_WORKSPACE/.lap\" || exit 9\n\
    echo \"$name $LAP_FROM $LAP_TO $LAP_COMMIT ${LAP_RELEASE:-none}\" >>hooks\n\
    while test -e \"hold-$name\"; do sleep 0.1; done\n\
    if test -e \"fail-$name\"; then echo \"not today\"; exit 3; fi\n";

fn write_hook(lab: &Lab, name: &str, text: &str) {
    lab.write(&format!("scripts/promote/{name}"), text);
    let path = lab.root.join("scripts/promote").join(name);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What was written down since this was asked last: hook, and what it was told.
fn ran(lab: &Lab) -> Vec<(String, String)> {
    let path = lab.root.join(".lap/hooks");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

fn names(ran: &[(String, String)]) -> Vec<&str> {
    ran.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_hook_that_fails_stops_it_there() {
    let lab = Lab::two_environments("promote-hooks");
    for name in HOOKS {
        write_hook(&lab, name, TEXT);
    }
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    prod(&lab, "mkdir -p /data/two && echo old >/data/two/file");
    change_two(&lab, "new", "echo new >/data/file");
    let head = run("git", &["-C", &lab.root.display().to_string(), "rev-parse", "HEAD"]).ok();
    // What lies in the working tree and is no commit has no say.
    write_hook(&lab, "before-plan", "#!/bin/sh\nexit 1\n");

    // A dry run names them, and runs none.
    let plan = lab.lap(&["promote", "--dry-run"]).ok();
    assert!(plan.contains(&format!("Hooks of that commit: `{}`", HOOKS.join("`, `"))), "{plan}");
    assert_eq!(ran(&lab), []);

    let (two, last) = (started(&lab, "two"), HOOKS.len() - 1);
    for (at, name) in HOOKS.iter().enumerate().take(last) {
        lab.write(&format!(".lap/fail-{name}"), "");
        let switched = matches!(*name, "after-switch" | "before-done");
        let error = lab.lap(&PROMOTE).fails(if switched { 7 } else { 10 });
        assert!(error.contains(&format!("the hook `{name}` failed (exit code 3)\n  | not today")), "{error}");
        assert!(error.contains(&format!("  {name}: not today")), "what it says is shown: {error}");
        fs::remove_file(lab.root.join(format!(".lap/fail-{name}"))).unwrap();
        assert_eq!(names(&ran(&lab)), HOOKS[..=at], "{name}");
        assert_eq!((says(&lab, "two").as_str(), prod(&lab, "cat /data/two/file").as_str()), ("two", "old"), "{name}");
        if switched {
            until_healthy(&lab);
        } else {
            assert_eq!(started(&lab, "two"), two, "{name}: nothing was touched");
        }
    }

    // Whoever has the last word, and is gone: nobody can say that all is well.
    lab.write(".lap/hold-after-switch", "");
    let promote = ["promote", "--yes", "--settle", "0s"];
    let mut promoting = lab.start(&promote);
    let asked = |name: &str| fs::read_to_string(lab.root.join(".lap/hooks")).is_ok_and(|text| text.contains(name));
    promoting.until("the hook is run", || asked("after-switch"));
    assert_eq!(says(&lab, "two"), "two, new");
    promoting.kill();
    until("it is taken back", || says_or_nothing(&lab) == "two");
    until_healthy(&lab);
    assert_eq!(prod(&lab, "cat /data/two/file"), "old");
    fs::remove_file(lab.root.join(".lap/hold-after-switch")).unwrap();
    ran(&lab);

    // Somebody else takes over: the hooks are asked there, too.
    lab.write(".lap/hold-after-switch", "");
    let mut promoting = lab.start(&promote);
    promoting.until("the hook is run", || asked("after-switch"));
    promoting.kill();
    fs::remove_file(lab.root.join(".lap/hold-after-switch")).unwrap();
    ran(&lab);
    lab.write(".lap/fail-after-done", "");
    let error = lab.lap(&["promote", "--resume"]).fails(1);
    assert!(error.contains(" runs, but the hook `after-done` failed"), "{error}");
    let ran = ran(&lab);
    assert_eq!(names(&ran), HOOKS[5..]);
    assert_eq!(says(&lab, "two"), "two, new");
    let list = lab.lap(&["release", "list"]).ok();
    let number = list.lines().last().unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(ran[2].1, format!("test prod {} {number}", head.trim()));

    // A roll-back is nothing that they could stop.
    lab.lap(&["rollback", "--yes", "--settle", "0s"]).ok();
    assert_eq!((says(&lab, "two").as_str(), asked("plan")), ("two", false));

    // A name with a mistake in it is told before anything.
    write_hook(&lab, "before-swich", TEXT);
    lab.commit();
    lab.lap(&["up"]).ok();
    assert!(lab.lap(&PROMOTE).fails(3).contains("`scripts/promote/before-swich` is not a hook"));
}

/// While it changes, it may not run.
fn says_or_nothing(lab: &Lab) -> String {
    prod(lab, "docker exec infra_two cat /say 2>/dev/null || true")
}

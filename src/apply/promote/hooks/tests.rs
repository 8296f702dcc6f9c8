use std::{fs, os::unix::fs::OpenOptionsExt, time::Duration};

use lap_base::error::Kind;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{hook::HookPoint, run::AgreedHooks, *};
use crate::{
    apply::{
        options::Options,
        promote::consent::{Agreed, describe::HOOKS_DIRECTORY},
    },
    report::{Event, Events},
};

fn hook(dir: &std::path::Path, name: &str, mode: u32, text: &str) {
    use std::io::Write;
    let dir = dir.join(HOOKS_DIRECTORY);
    fs::create_dir_all(&dir).unwrap();
    let _ = fs::remove_file(dir.join(name));
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(dir.join(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn hooks(dir: &std::path::Path) -> AgreedHooks {
    let variables = vec![("LAP_TO", "prod; rm".to_owned())];
    let there = find::find(dir).unwrap();
    AgreedHooks { agreed: Agreed::in_a_test("c"), root: dir.to_owned(), there, variables, _as_long_as_they_run: None }
}

fn options() -> (Options, tokio::sync::mpsc::UnboundedReceiver<Event>, watch::Sender<bool>) {
    let (events, told) = Events::channel();
    let (stopper, stop) = watch::channel(false);
    let options = Options { dry_run: false, wait: false, events, stop, who: "anna".into(), verb: "promote" };
    (options, told, stopper)
}

#[test]
fn a_name_with_a_mistake_is_no_hook_that_never_runs() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(find::find(dir.path()).unwrap(), []);
    hook(dir.path(), "README.md", 0o644, "text");
    hook(dir.path(), "after-switch", 0o755, "");
    hook(dir.path(), "before-plan", 0o755, "");
    assert_eq!(hooks(dir.path()).names(), ["before-plan", "after-switch"]);
    assert!(hooks(dir.path()).has_last_word());
    hook(dir.path(), "before-swich", 0o755, "");
    let error = find::find(dir.path()).unwrap_err();
    assert_eq!(error.message, "`scripts/promote/before-swich` is not a hook");
    fs::remove_file(dir.path().join(HOOKS_DIRECTORY).join("before-swich")).unwrap();
    hook(dir.path(), "after-done", 0o644, "");
    let error = find::find(dir.path()).unwrap_err();
    assert_eq!(error.message, "`scripts/promote/after-done` is not executable");
    fs::remove_file(dir.path().join(HOOKS_DIRECTORY).join("after-done")).unwrap();
    // What an operator is shown is the text of the files there, not of what a link leads to.
    std::os::unix::fs::symlink("/bin/true", dir.path().join(HOOKS_DIRECTORY).join("after-bring")).unwrap();
    let error = find::find(dir.path()).unwrap_err();
    assert_eq!(error.message, "`scripts/promote/after-bring` is a link: put the file there");
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("scripts")).unwrap();
    std::os::unix::fs::symlink(dir.path().join(HOOKS_DIRECTORY), other.path().join(HOOKS_DIRECTORY)).unwrap();
    let error = find::find(other.path()).unwrap_err();
    assert_eq!(error.message, "`scripts/promote` is a link: put the directory there");
    // What cannot be read is not what is not there.
    fs::remove_file(other.path().join(HOOKS_DIRECTORY)).unwrap();
    fs::write(other.path().join(HOOKS_DIRECTORY), "").unwrap();
    assert!(find::find(other.path()).unwrap_err().message.contains("cannot read `scripts/promote`"));
}

/// As by another child of ours that is about to become another program.
#[tokio::test]
async fn one_that_is_still_open_for_writing_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    hook(dir.path(), "before-plan", 0o755, "#!/bin/sh\nexit 0\n");
    let open = fs::OpenOptions::new().append(true).open(dir.path().join(HOOKS_DIRECTORY).join("before-plan")).unwrap();
    let (hooks, (options, _told, _stopper)) = (hooks(dir.path()), options());
    let close = async {
        sleep(Duration::from_millis(100)).await;
        drop(open);
    };
    let (ran, ()) = tokio::join!(hooks.run(HookPoint::BeforePlan, None, &options), close);
    ran.unwrap();
}

#[tokio::test]
async fn what_it_is_told_what_it_says_and_how_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    hook(
        dir.path(),
        "before-bring",
        0o755,
        "#!/bin/sh\necho \"$LAP_TO $LAP_RELEASE\"; test $LAP_DEADLINE -gt 1 && pwd >&2\n",
    );
    hook(dir.path(), "after-bring", 0o755, "#!/bin/sh\nfor i in 1 2 3 4 5 6; do echo $i; done; exit 3\n");
    hook(dir.path(), "before-switch", 0o755, "#!/bin/sh\nsleep 1000 & echo $! >child; wait\n");
    let (hooks, (options, mut told, stopper)) = (hooks(dir.path()), options());
    hooks.run(HookPoint::AfterDone, None, &options).await.unwrap();
    hooks.run(HookPoint::BeforeBring, Some(4), &options).await.unwrap();
    let mut said = Vec::new();
    while let Ok(Event::Note { text }) = told.try_recv() {
        said.push(text);
    }
    said[1..].sort();
    let here = dir.path().canonicalize().unwrap().display().to_string();
    let mut want =
        ["  hook `before-bring`".to_owned(), format!("  before-bring: {here}"), "  before-bring: prod; rm 4".into()];
    want[1..].sort();
    assert_eq!(said, want);

    let error = hooks.run(HookPoint::AfterBring, None, &options).await.unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    assert_eq!(error.message, "the hook `after-bring` failed (exit code 3)\n  | 2\n  | 3\n  | 4\n  | 5\n  | 6");

    let error = hooks.run_until(HookPoint::BeforeSwitch, None, Instant::now(), &options).await.unwrap_err();
    assert_eq!(error.message, "the hook `before-switch` exceeded its time limit");
    // Ctrl-C: it goes, and what it started.
    let file = dir.path().join("child");
    let _ = fs::remove_file(&file);
    let until_it_is_there = async {
        while !fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')) {
            sleep(Duration::from_millis(20)).await;
        }
        stopper.send(true).unwrap();
    };
    let (ended, ()) = tokio::join!(hooks.run(HookPoint::BeforeSwitch, None, &options), until_it_is_there);
    assert_eq!(ended.unwrap_err().kind, Kind::Interrupted);
    let child = fs::read_to_string(&file).unwrap();
    let alive = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let begun = Instant::now();
    while alive() {
        assert!(begun.elapsed() < Duration::from_secs(60), "what it started goes on");
        sleep(Duration::from_millis(20)).await;
    }
}

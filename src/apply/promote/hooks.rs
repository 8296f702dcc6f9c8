//! Programs of the workspace that are run before and after each phase of a promotion, on the operator's machine: those of the commit that
//! is promoted, since they were tested with it. One that fails stops the promotion there.

use std::{
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Planned, git, plan_promotion, recorded};
use crate::{
    apply::up::{Master, Options, short},
    config::model::Environment,
    error::{Error, Kind, OrError, Result},
    observe::{
        checkout::{self, Checkout},
        commit as in_git,
    },
    release::{Ended, Entry, Hooked, Verb},
    workspace::Workspace,
};

/// Where they are in the workspace.
const DIRECTORY: &str = "scripts/promote";
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long those may take, together, for which the agent waits before it makes the release final: it gives up after 120 s.
const LAST_WORD: Duration = Duration::from_secs(100);
/// What a hook started that goes on may print for so long after its end.
const LINGER: Duration = Duration::from_millis(200);
/// How long a program that nobody should write to any more may be busy.
const BUSY: Duration = Duration::from_secs(5);
/// So many of its last lines stand in the error.
const LAST_LINES: usize = 5;

/// When one is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    BeforePlan,
    AfterPlan,
    BeforeBring,
    AfterBring,
    BeforeSwitch,
    /// The new release runs and may still be taken back.
    AfterSwitch,
    /// The same, after all others agreed.
    BeforeDone,
    /// Nothing is taken back any more.
    AfterDone,
}

impl Hook {
    const ALL: [Self; 8] = [
        Self::BeforePlan,
        Self::AfterPlan,
        Self::BeforeBring,
        Self::AfterBring,
        Self::BeforeSwitch,
        Self::AfterSwitch,
        Self::BeforeDone,
        Self::AfterDone,
    ];

    /// Its file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforePlan => "before-plan",
            Self::AfterPlan => "after-plan",
            Self::BeforeBring => "before-bring",
            Self::AfterBring => "after-bring",
            Self::BeforeSwitch => "before-switch",
            Self::AfterSwitch => "after-switch",
            Self::BeforeDone => "before-done",
            Self::AfterDone => "after-done",
        }
    }
}

/// Those of one commit.
pub struct Hooks {
    /// The workspace at that commit.
    root: PathBuf,
    there: Vec<Hook>,
    variables: Vec<(&'static str, String)>,
    _as_long_as_they_run: Option<Checkout>,
}

impl Hooks {
    /// Those of `commit`, for a promotion `from` one environment `to` another.
    ///
    /// # Errors
    /// The commit is not here, or a program there is no hook, or a hook no program.
    pub fn of(workspace: &Workspace, commit: &str, from: &str, to: &str) -> Result<Self> {
        // Always from git: what lies in the working tree has no say, even where the rest is that commit's.
        let here = &workspace.lab.root;
        let checkout = checkout::checkout(here, commit, &in_git::inside(here), &tempfile::env::temp_dir())
            .map_err(|error| error.hint(format!("`git fetch` it (commit {}), and promote again", short(commit))))?;
        let root = checkout.root.clone();
        let there = find(&root.join(DIRECTORY))?;
        let variables = vec![
            ("LAP_FROM", from.to_owned()),
            ("LAP_TO", to.to_owned()),
            ("LAP_COMMIT", commit.to_owned()),
            ("LAP_LAB", workspace.lab.name.clone()),
            ("LAP_WORKSPACE", workspace.lab.root.display().to_string()),
        ];
        Ok(Self { root, there, variables, _as_long_as_they_run: Some(checkout) })
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.there.iter().map(|hook| hook.name()).collect()
    }

    /// Whether one has a say before the release is made final.
    pub fn has_last_word(&self) -> bool {
        self.there.iter().any(|hook| matches!(hook, Hook::AfterSwitch | Hook::BeforeDone))
    }

    /// Runs one, if it is there. `release`: its number, once it is known.
    ///
    /// # Errors
    /// It failed, or took too long, or somebody pressed Ctrl-C.
    pub async fn run(&self, hook: Hook, release: Option<u64>, options: &Options) -> Result<()> {
        self.run_until(hook, release, Instant::now() + PATIENCE, options).await
    }

    /// The same, with less time.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_until(&self, hook: Hook, release: Option<u64>, until: Instant, options: &Options) -> Result<()> {
        if !self.there.contains(&hook) {
            return Ok(());
        }
        let name = hook.name();
        options.events.note(format!("  hook `{name}`"));
        let left = until.saturating_duration_since(Instant::now());
        let deadline = (SystemTime::now() + left).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut command = Command::new(self.root.join(DIRECTORY).join(name));
        command.current_dir(&self.root).envs(self.variables.iter().map(|(key, value)| (key, value)));
        command.env("LAP_DEADLINE", deadline.to_string());
        command.envs(release.map(|number| ("LAP_RELEASE", number.to_string())));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = spawn(&mut command).await.or_error(Kind::Refused, || format!("cannot run the hook `{name}`"))?;
        let mut stop = options.stop.clone();
        let mut last = Vec::new();
        let ended = tokio::select! {
            ended = follow(child, |line| {
                options.events.note(format!("  {name}: {line}"));
                last.push(line.to_owned());
            }) => ended.or_error(Kind::Refused, || format!("cannot run the hook `{name}`"))?,
            () = sleep_until(until) => {
                return Err(Error::new(Kind::Refused, format!("the hook `{name}` did not end in time")));
            }
            _ = stop.wait_for(|stop| *stop) => {
                return Err(Error::new(Kind::Interrupted, format!("stopped in the hook `{name}`")));
            }
        };
        if ended.success() {
            return Ok(());
        }
        let how = match (ended.code(), ended.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        let from = last.len().saturating_sub(LAST_LINES);
        let said: String = last[from..].iter().map(|line| format!("\n  | {line}")).collect();
        Err(Error::new(Kind::Refused, format!("the hook `{name}` failed ({how}){said}")))
    }
}

/// It was written just now: another child of ours may still have the file open for writing, until it is another program (execve(2),
/// ETXTBSY).
async fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let until = Instant::now() + BUSY;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy && Instant::now() < until => {
                sleep(Duration::from_millis(20)).await;
            }
            spawned => return spawned,
        }
    }
}

/// The hooks in a directory.
fn find(dir: &std::path::Path) -> Result<Vec<Hook>> {
    let mut there = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(there) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let meta = entry.path().metadata().or_error(Kind::Config, || format!("cannot read `{DIRECTORY}/{name}`"))?;
        let runs = meta.is_file() && meta.permissions().mode() & 0o111 != 0;
        match (Hook::ALL.into_iter().find(|hook| hook.name() == name), runs) {
            (Some(hook), true) => there.push(hook),
            (Some(_), false) => {
                return Err(Error::new(Kind::Config, format!("`{DIRECTORY}/{name}` is not executable"))
                    .hint(format!("`git update-index --chmod=+x {DIRECTORY}/{name}`, and commit")));
            }
            // Whatever a hook needs beside it belongs elsewhere: a name with a mistake in it would never run.
            (None, true) => {
                let known = Hook::ALL.map(Hook::name).join("`, `");
                return Err(Error::new(Kind::Config, format!("`{DIRECTORY}/{name}` is no hook"))
                    .hint(format!("hooks are called `{known}`")));
            }
            (None, false) => {}
        }
    }
    there.sort_by_key(|hook| Hook::ALL.iter().position(|known| known == hook));
    Ok(there)
}

/// Ends all that a hook started, when nobody waits for it any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.id() {
            let _ = killpg(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// Waits for its end; tells each line.
async fn follow(child: Child, mut line: impl FnMut(&str)) -> std::io::Result<ExitStatus> {
    let mut group = Group(child);
    let (told, mut lines) = mpsc::unbounded_channel();
    if let Some(out) = group.0.stdout.take() {
        tokio::spawn(read(out, told.clone()));
    }
    if let Some(err) = group.0.stderr.take() {
        tokio::spawn(read(err, told.clone()));
    }
    drop(told);
    let ended = loop {
        tokio::select! {
            Some(text) = lines.recv() => line(&text),
            ended = group.0.wait() => break ended?,
        }
    };
    while let Ok(Some(text)) = timeout(LINGER, lines.recv()).await {
        line(&text);
    }
    Ok(ended)
}

async fn read(from: impl AsyncRead + Unpin, told: mpsc::UnboundedSender<String>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line).await, Ok(1..)) {
        // Whoever asked may be gone; what still writes must not be stopped by a full pipe.
        let _ = told.send(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}

/// Those that have a say before the release is made final, for whoever watches by now.
///
/// # Errors
/// One failed: all is to be taken back.
pub async fn last_word(master: &Master, hooked: &Hooked, options: &Options) -> Result<()> {
    let Hooked { from, commit, release } = hooked;
    let hooks = Hooks::of(&master.workspace, commit, from, &master.environment.name)?;
    let until = Instant::now() + LAST_WORD;
    hooks.run_until(Hook::AfterSwitch, Some(*release), until, options).await?;
    hooks.run_until(Hook::BeforeDone, Some(*release), until, options).await
}

/// The one after all, for somebody who only watched.
///
/// # Errors
/// It failed: the release runs all the same.
pub async fn after_done(master: &Master, entry: &Entry, options: &Options) -> Result<()> {
    match &entry.from {
        Some(from) if entry.verb == Verb::Promote && entry.result == Ended::Done => {
            let hooks = Hooks::of(&master.workspace, &entry.commit, from, &master.environment.name)?;
            hooks.run(Hook::AfterDone, Some(entry.release), options).await
        }
        _ => Ok(()),
    }
}

/// Plans a promotion between its hooks; a dry run only names them.
///
/// # Errors
/// As [`plan_promotion`], or a hook failed: nothing has changed.
pub async fn plan(
    workspace: Arc<Workspace>,
    from: &Environment,
    to: &Environment,
    options: &Options,
) -> Result<(Planned, Option<Arc<Hooks>>)> {
    let source = Master::connect(workspace.clone(), from, Duration::from_secs(5)).await?;
    // What is no commit is refused by the plan, which says why.
    let facts = source.client.facts().await?;
    let commit = recorded(&facts).map(|runs| runs.commit).filter(|commit| !commit.contains('-'));
    if let Some(commit) = &commit {
        git::fetch(&source, &facts, &workspace.lab.root, commit, options).await?;
    }
    let hooks = commit.map(|commit| Hooks::of(&workspace, &commit, &from.name, &to.name)).transpose()?.map(Arc::new);
    let run = async |hook: Hook, release: Option<u64>| match &hooks {
        Some(hooks) if !options.dry_run => hooks.run(hook, release, options).await,
        _ => Ok(()),
    };
    run(Hook::BeforePlan, None).await?;
    let planned = plan_promotion(workspace.clone(), from, to, options).await?;
    if let Some(hooks) = &hooks
        && !hooks.variables.contains(&("LAP_COMMIT", planned.target.commit.clone()))
    {
        return Err(Error::new(Kind::Refused, format!("`{}` began to run something else meanwhile", from.name))
            .hint("run the command again: it plans anew"));
    }
    run(Hook::AfterPlan, planned.target.release).await?;
    Ok((planned, hooks))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::OpenOptionsExt};

    use tokio::sync::watch;

    use super::*;
    use crate::report::{Event, Events};

    fn hook(dir: &std::path::Path, name: &str, mode: u32, text: &str) {
        use std::io::Write;
        let dir = dir.join(DIRECTORY);
        fs::create_dir_all(&dir).unwrap();
        let _ = fs::remove_file(dir.join(name));
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(dir.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn hooks(dir: &std::path::Path) -> Hooks {
        let variables = vec![("LAP_TO", "prod; rm".to_owned())];
        let there = find(&dir.join(DIRECTORY)).unwrap();
        Hooks { root: dir.to_owned(), there, variables, _as_long_as_they_run: None }
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
        assert_eq!(find(&dir.path().join(DIRECTORY)).unwrap(), []);
        hook(dir.path(), "README.md", 0o644, "text");
        hook(dir.path(), "after-switch", 0o755, "");
        hook(dir.path(), "before-plan", 0o755, "");
        assert_eq!(hooks(dir.path()).names(), ["before-plan", "after-switch"]);
        assert!(hooks(dir.path()).has_last_word());
        hook(dir.path(), "before-swich", 0o755, "");
        let error = find(&dir.path().join(DIRECTORY)).unwrap_err();
        assert_eq!(error.message, "`scripts/promote/before-swich` is no hook");
        fs::remove_file(dir.path().join(DIRECTORY).join("before-swich")).unwrap();
        hook(dir.path(), "after-done", 0o644, "");
        let error = find(&dir.path().join(DIRECTORY)).unwrap_err();
        assert_eq!(error.message, "`scripts/promote/after-done` is not executable");
    }

    /// As by another child of ours that is about to become another program.
    #[tokio::test]
    async fn one_that_is_still_open_for_writing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        hook(dir.path(), "before-plan", 0o755, "#!/bin/sh\nexit 0\n");
        let open = fs::OpenOptions::new().append(true).open(dir.path().join(DIRECTORY).join("before-plan")).unwrap();
        let (hooks, (options, _told, _stopper)) = (hooks(dir.path()), options());
        let close = async {
            sleep(Duration::from_millis(100)).await;
            drop(open);
        };
        let (ran, ()) = tokio::join!(hooks.run(Hook::BeforePlan, None, &options), close);
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
        hooks.run(Hook::AfterDone, None, &options).await.unwrap();
        hooks.run(Hook::BeforeBring, Some(4), &options).await.unwrap();
        let mut said = Vec::new();
        while let Ok(Event::Note { text }) = told.try_recv() {
            said.push(text);
        }
        said[1..].sort();
        let here = dir.path().canonicalize().unwrap().display().to_string();
        let mut want = [
            "  hook `before-bring`".to_owned(),
            format!("  before-bring: {here}"),
            "  before-bring: prod; rm 4".into(),
        ];
        want[1..].sort();
        assert_eq!(said, want);

        let error = hooks.run(Hook::AfterBring, None, &options).await.unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert_eq!(error.message, "the hook `after-bring` failed (exit code 3)\n  | 2\n  | 3\n  | 4\n  | 5\n  | 6");

        let error = hooks.run_until(Hook::BeforeSwitch, None, Instant::now(), &options).await.unwrap_err();
        assert_eq!(error.message, "the hook `before-switch` did not end in time");
        // Ctrl-C: it goes, and what it started.
        let file = dir.path().join("child");
        let _ = fs::remove_file(&file);
        let until_it_is_there = async {
            while !fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')) {
                sleep(Duration::from_millis(20)).await;
            }
            stopper.send(true).unwrap();
        };
        let (ended, ()) = tokio::join!(hooks.run(Hook::BeforeSwitch, None, &options), until_it_is_there);
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
}

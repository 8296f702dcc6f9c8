//! Runs the hooks of a commit that an operator agreed to.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, SystemTime},
};

use lap_base::error::{Error, Kind, OrError, Result};
use tokio::{
    process::Command,
    time::{Instant, sleep_until},
};

use super::{
    find::FoundHooks,
    hook::HookPoint,
    program::{follow, spawn},
};
use crate::{
    apply::{
        options::Options,
        promote::consent::{Agreed, describe::HOOKS_DIRECTORY},
    },
    observe::checkout::Checkout,
    workspace::Workspace,
};

/// How long one may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// So many of its last lines stand in the error.
pub(super) const LAST_LINES: usize = 5;

/// Those of a commit that an operator agreed to.
pub struct AgreedHooks {
    pub(super) agreed: Agreed,
    /// The workspace at that commit.
    pub(super) root: PathBuf,
    pub(super) there: Vec<HookPoint>,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) _as_long_as_they_run: Option<Checkout>,
}

impl AgreedHooks {
    /// Those of the commit that was agreed to, for a promotion `from` one environment `to` another.
    ///
    /// # Errors
    /// The commit is not in the clone, a program there is not a hook, or a hook is not a program.
    pub fn of(workspace: &Workspace, agreed: Agreed, from: &str, to: &str) -> Result<Self> {
        let FoundHooks { checkout, there } = FoundHooks::of(workspace, agreed.commit())?;
        let variables = vec![
            ("LAP_FROM", from.to_owned()),
            ("LAP_TO", to.to_owned()),
            ("LAP_COMMIT", agreed.commit().to_owned()),
            ("LAP_LAB", workspace.lab.name.clone()),
            ("LAP_WORKSPACE", workspace.lab.root.display().to_string()),
        ];
        Ok(Self { agreed, root: checkout.root.clone(), there, variables, _as_long_as_they_run: Some(checkout) })
    }

    /// The commit that was agreed to.
    pub fn commit(&self) -> &str {
        self.agreed.commit()
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.there.iter().map(|hook| hook.name()).collect()
    }

    /// Whether one has a say before the release is made final.
    pub fn has_last_word(&self) -> bool {
        self.there.iter().any(|hook| matches!(hook, HookPoint::AfterSwitch | HookPoint::BeforeDone))
    }

    /// Runs one, if it is there. `release`: its number, once it is known.
    ///
    /// # Errors
    /// It failed, or took too long, or somebody pressed Ctrl-C.
    pub async fn run(&self, hook: HookPoint, release: Option<u64>, options: &Options) -> Result<()> {
        self.run_until(hook, release, Instant::now() + PATIENCE, options).await
    }

    /// The same, with less time.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_until(
        &self,
        hook: HookPoint,
        release: Option<u64>,
        until: Instant,
        options: &Options,
    ) -> Result<()> {
        if !self.there.contains(&hook) {
            return Ok(());
        }
        let name = hook.name();
        options.events.note(format!("  hook `{name}`"));
        let left = until.saturating_duration_since(Instant::now());
        let deadline = (SystemTime::now() + left).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut command = Command::new(self.root.join(HOOKS_DIRECTORY).join(name));
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
                return Err(Error::new(Kind::Refused, format!("the hook `{name}` exceeded its time limit")));
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

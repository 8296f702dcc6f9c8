//! What every verb does the same way: open the workspace, run async work, draw progress, stop on Ctrl-C.

use std::{io::IsTerminal, path::PathBuf, sync::Arc};

use lap_base::{
    error::{Kind, OrError, Result},
    secret::Secret,
};
use tokio::sync::watch;

use super::global::{Global, ProgressMode};
use crate::{
    apply::options::Options,
    keys::{self, Passphrase},
    report::{self, Events, ProgressStyle, print},
    workspace::Workspace,
};

/// Options of verbs that change something.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Changing {
    /// Show the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until the lock of the node is free
    #[arg(long)]
    pub wait: bool,
}

impl Changing {
    /// The same, but nothing is changed.
    pub fn dry(&self) -> Self {
        Self { dry_run: true, ..self.clone() }
    }
}

impl Global {
    /// Where to begin to look for the workspace.
    pub fn start(&self) -> Result<PathBuf> {
        let here = || std::env::current_dir().or_error(Kind::Host, || "cannot find the current directory".into());
        match &self.directory {
            Some(directory) => here().map(|here| here.join(directory)),
            None => here(),
        }
    }

    /// Opens the workspace.
    pub fn workspace(&self) -> Result<Arc<Workspace>> {
        Workspace::open(&self.start()?, self.lab.as_deref()).map(Arc::new)
    }

    fn style(&self) -> ProgressStyle {
        match self.progress {
            ProgressMode::Bars => ProgressStyle::Bars,
            ProgressMode::Plain => ProgressStyle::Plain,
            ProgressMode::Json => ProgressStyle::Json,
            ProgressMode::Auto if std::io::stderr().is_terminal() => ProgressStyle::Bars,
            ProgressMode::Auto => ProgressStyle::Plain,
        }
    }

    /// Whether results are JSON because events are.
    pub fn json(&self) -> bool {
        self.progress == ProgressMode::Json
    }

    /// Runs `work` with progress shown and Ctrl-C caught: once stops cleanly, twice at once.
    pub fn work<T, F: Future<Output = Result<T>>>(
        &self,
        verb: &'static str,
        changing: &Changing,
        work: impl FnOnce(Options) -> F,
    ) -> Result<T> {
        let Changing { dry_run, wait, .. } = *changing;
        watched(verb, self.style(), who(), (dry_run, wait), work)
    }
}

/// Runs `work` in this style, as this person, with Ctrl-C caught.
pub fn watched<T, F: Future<Output = Result<T>>>(
    verb: &'static str,
    style: ProgressStyle,
    who: String,
    (dry_run, wait): (bool, bool),
    work: impl FnOnce(Options) -> F,
) -> Result<T> {
    runtime()?.block_on(async {
        let (events, receiver) = Events::channel();
        let drawing = tokio::spawn(report::draw(style, receiver));
        let (stopper, stop) = watch::channel(false);
        let note = events.clone();
        let interrupts = tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                note.note("stopping …");
                let _ = stopper.send(true);
            }
        });
        let options = Options { dry_run, wait, events, stop, who, verb };
        let result = work(options).await;
        interrupts.abort();
        let _ = interrupts.await;
        // Everything that was told is drawn before anything else is printed.
        let _ = drawing.await;
        result
    })
}

/// Where a passphrase comes from.
#[derive(clap::Args, Debug)]
pub struct PassphraseFrom {
    /// Read the passphrase from this file's first line [default: ask]
    #[arg(long, value_name = "FILE", env = "LAP_PASSPHRASE_FILE", hide_env_values = true)]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseFrom {
    /// From the file, or asked for; twice, if it is `new`.
    pub fn resolve(&self, new: bool) -> Result<Passphrase> {
        let mut prompt = |what: &str| {
            let typed = rpassword::prompt_password(format!("{what}: "));
            typed.map(Secret::new).or_error(Kind::Host, || "cannot read the passphrase".into())
        };
        let terminal = std::io::stdin().is_terminal();
        let prompt: Option<keys::Prompt<'_>> = if terminal { Some(&mut prompt) } else { None };
        Passphrase::resolve(self.passphrase_file.as_deref(), None, prompt, new)
    }
}

/// A runtime for one command.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .or_error(Kind::Host, || "cannot start".into())
}

/// `anna@notebook`
pub fn who() -> String {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| {
        nix::unistd::User::from_uid(nix::unistd::getuid())
            .ok()
            .flatten()
            .map_or_else(|| nix::unistd::getuid().to_string(), |user| user.name)
    });
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    format!("{user}@{}", host.unwrap_or_else(|_| "unknown".into()))
}

/// Prints a value as JSON, indented.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).or_error(Kind::Other, || "cannot print".into())?;
    print::json(&text);
    Ok(())
}

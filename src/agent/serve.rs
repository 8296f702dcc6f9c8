//! The agent's socket: takes one request a connection and answers it (see [`crate::wire::protocol`]).

mod archives;
mod ready;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::{
    checks, copies, facts, git, grow, health, images, install, into,
    journal::Journal,
    lock::{Grant, Lock},
    recovery::Recovery,
    repository, resolve, snapshots,
    switch::Watch,
    tunnel,
};
use crate::{
    clock::now,
    durable,
    error::{Error, Kind, OrError, Result},
    snapshot::Reason,
    wire::{
        paths,
        protocol::{self, Answer, Holder, Note, Place, Request},
    },
};

/// No place takes more than this.
const MAX_INSTALL: u64 = 64 << 20;
/// No agent is larger than this.
const MAX_BINARY: u64 = 1 << 30;

/// How often the agent looks whether a snapshot is due.
const SCHEDULE: Duration = Duration::from_secs(5);
/// And when the last one could not be taken.
const AFTER_FAILURE: Duration = Duration::from_secs(300);

pub(super) type Connection = BufReader<UnixStream>;

/// What all connections share.
#[derive(Clone)]
pub struct Agent {
    journal: Arc<Mutex<Journal>>,
    pub(super) lock: Lock,
    replaced: mpsc::Sender<()>,
    /// The switch that is under way, or the last one.
    switch: Arc<Mutex<Option<Watch>>>,
    pub(super) recovery: Recovery,
}

/// Binds the socket, for root only.
///
/// # Errors
/// Names the path.
pub fn listen() -> Result<UnixListener> {
    let what = || format!("cannot listen on `{}`", paths::SOCKET);
    if let Some(dir) = Path::new(paths::SOCKET).parent() {
        fs::create_dir_all(dir).or_error(Kind::Node, what)?;
    }
    let _ = fs::remove_file(paths::SOCKET);
    let listener = UnixListener::bind(paths::SOCKET).or_error(Kind::Node, what)?;
    fs::set_permissions(paths::SOCKET, fs::Permissions::from_mode(0o600)).or_error(Kind::Node, what)?;
    Ok(listener)
}

/// Answers until the agent ends.
pub async fn serve(listener: UnixListener, agent: Agent) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let agent = agent.clone();
                tokio::spawn(async move { agent.connection(BufReader::new(stream)).await });
            }
            Err(error) => {
                eprintln!("agent: accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Agent {
    /// `replaced` is told when a newer binary is in place.
    pub fn new(journal: Journal, lock: Lock, replaced: mpsc::Sender<()>) -> Self {
        Self {
            journal: Arc::new(Mutex::new(journal)),
            lock,
            replaced,
            switch: Arc::default(),
            recovery: Recovery::default(),
        }
    }

    async fn connection(&self, mut stream: Connection) {
        let mut line = String::new();
        if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
            return;
        }
        let request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(error) => {
                let answer = Error::new(Kind::Usage, format!("the agent does not understand this: {error}"));
                return say(&mut stream, &answer.into()).await;
            }
        };
        let answer = match request {
            Request::Docker { fence } => return tunnel::docker(&self.lock, stream, fence).await,
            Request::Registry { fence } => return tunnel::registry(&self.lock, stream, fence).await,
            Request::Lock { holder, wait } => return self.hold(stream, holder, wait).await,
            Request::CopySnapshot { .. } | Request::FetchSnapshot { .. } => {
                // No lock: a copy only reads, and what is fetched is nobody else's until it is there.
                return repository::work(stream, &request).await;
            }
            Request::RestoreSnapshot { holder, wait, id, part } => {
                let act = move |by: &str, note| snapshots::restore(by, &id, part, note);
                return match self.granted(&mut stream, &holder, wait).await {
                    Ok(Some(grant)) => self.told(stream, grant, holder, act).await,
                    Ok(None) => {}
                    Err(error) => say(&mut stream, &error.into()).await,
                };
            }
            Request::IntoSnapshot { holder, wait, sent, bring } => {
                return self.into(stream, (holder, wait), sent, bring).await;
            }
            Request::Switch { holder, wait, order } => return self.switch(stream, holder, wait, *order).await,
            Request::WatchSwitch => return self.watch_switch(stream).await,
            Request::Prune { holder, wait, dry_run, rules } => {
                return self.prune(stream, holder, wait, (dry_run, rules)).await;
            }
            // No lock: who checks changes nothing.
            Request::Check { containers } => {
                checks::answer(&mut stream, &containers).await.unwrap_or_else(Answer::from)
            }
            Request::GiveObjects { repository, commit, alone } => {
                return match git::give(&repository, &commit, alone, protocol::MAX_PACK as usize).await {
                    Ok(pack) => {
                        say(&mut stream, &Answer::Objects { size: pack.len() as u64 }).await;
                        let _ = stream.write_all(&pack).await;
                    }
                    Err(error) => say(&mut stream, &error.into()).await,
                };
            }
            Request::ExportSnapshot { id } => self.export(&mut stream, &id).await.unwrap_or_else(Answer::from),
            Request::SendSnapshot { id, parent, archive } => {
                archives::send(&mut stream, &id, parent.as_ref(), archive).await.unwrap_or_else(Answer::from)
            }
            Request::ImportSnapshot { holder, wait } => {
                self.import(&mut stream, holder, wait).await.unwrap_or_else(Answer::from)
            }
            other => self.answer(&mut stream, other).await.unwrap_or_else(Answer::from),
        };
        say(&mut stream, &answer).await;
    }

    async fn answer(&self, stream: &mut Connection, request: Request) -> Result<Answer> {
        match request {
            Request::Facts => {
                let mut facts = facts::look().await;
                facts.lock = self.lock.held();
                facts.recovery = self.recovering();
                facts.unfinished = self.journal(|journal| journal.unfinished().cloned());
                return Ok(Answer::Facts(Box::new(facts)));
            }
            Request::Ready { seconds } => ready::ready(Duration::from_secs(seconds)).await?,
            Request::Install { fence, place, size } => {
                let bytes = receive(stream, size, MAX_INSTALL).await?;
                self.lock.check(fence)?;
                let files = tokio::task::spawn_blocking(move || install::put(&place, &bytes)).await;
                return Ok(Answer::Installed { files: files.or_error(Kind::Other, || "install".into())?? });
            }
            Request::Uninstall { fence, place } => {
                self.lock.check(fence)?;
                let dir = install::directory(&place)?;
                if !matches!(place, Place::Env(_) | Place::Checks(_) | Place::Secrets(_)) {
                    return Err(Error::new(Kind::Refused, format!("{place:?} stays")));
                }
                match fs::remove_dir_all(&dir) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::new(Kind::Node, format!("cannot remove `{}`: {error}", dir.display())));
                    }
                    _ => {}
                }
            }
            Request::MakeData { fence, containers, sources } => {
                self.lock.check(fence)?;
                containers.iter().try_for_each(|name| super::pool::make_data(name))?;
                return aside(move || super::binds::add(&sources).map(|()| Answer::Done)).await;
            }
            Request::SaveImage { fence, image, file } => {
                self.lock.check(fence)?;
                images::save(&image, &file).await?;
            }
            Request::LoadImage { fence, file } => {
                self.lock.check(fence)?;
                images::load(&file).await?;
            }
            Request::Branch { repository, branch, wanted } => {
                let at = git::at(&repository, &branch).await?;
                let has = match &wanted {
                    Some(commit) => git::has(&repository, commit).await?,
                    None => false,
                };
                return Ok(Answer::Branch { at, has });
            }
            Request::TakeObjects { fence, repository, size } => {
                let pack = receive(stream, size, crate::wire::protocol::MAX_PACK).await?;
                self.lock.check(fence)?;
                git::take(&repository, &pack).await?;
            }
            Request::AwaitHealthy { container, seconds } => {
                health::await_healthy(&facts::docker().await?, &container, Duration::from_secs(seconds)).await?;
            }
            Request::Resolve { vantage, servers, questions } => {
                return resolve::resolve(vantage, servers, questions).await;
            }
            Request::Upgrade { build, size } => {
                let bytes = receive(stream, size, MAX_BINARY).await?;
                if let Some((holder, _)) = self.lock.held() {
                    let message = format!("`{}` holds the lock for `{}`", holder.who, holder.verb);
                    return Err(Error::new(Kind::Locked, message).hint("try again when it has finished"));
                }
                eprintln!("agent: replaced by build {build}");
                durable::write_file(Path::new(paths::BINARY), &bytes, 0o755)?;
                let _ = self.replaced.try_send(());
            }
            Request::TakeSnapshot { holder, wait, note, max_pause } => {
                let Some(grant) = self.granted(stream, &holder, wait).await? else { return Ok(Answer::Done) };
                let most = max_pause.map(Duration::from_micros);
                return self.under(grant, holder, move |by| snapshots::take(by, Reason::Asked, note, most)).await;
            }
            Request::RemoveSnapshot { holder, wait, id } => {
                let Some(grant) = self.granted(stream, &holder, wait).await? else { return Ok(Answer::Done) };
                return self.making_room(grant, holder, move |_| snapshots::remove(&id)).await;
            }
            Request::AdoptState { holder, wait, id } => {
                let Some(grant) = self.granted(stream, &holder, wait).await? else { return Ok(Answer::Done) };
                return self.under(grant, holder, move |_| snapshots::adopt(&id)).await;
            }
            Request::GrowPool { holder, wait, disk } => {
                let Some(grant) = self.granted(stream, &holder, wait).await? else { return Ok(Answer::Done) };
                return self.making_room(grant, holder, move |_| grow::to(disk)).await;
            }
            Request::PruneSnapshots { dry_run: true, .. } => return aside(|| snapshots::prune(true)).await,
            Request::PruneSnapshots { holder, wait, dry_run: false } => {
                let Some(grant) = self.granted(stream, &holder, wait).await? else { return Ok(Answer::Done) };
                return self.making_room(grant, holder, |_| snapshots::prune(false)).await;
            }
            Request::ListSnapshots { sizes } => return aside(move || snapshots::list(sizes)).await,
            Request::NoteCopies { repository, news } => return aside(move || copies::hear(repository, news)).await,
            Request::ListReceived { from } => return aside(move || into::received(&from)).await,
            Request::ShowSnapshot { id } => return aside(move || snapshots::show(&id)).await,
            Request::DiffSnapshots { from, to } => return aside(move || snapshots::diff(&from, to.as_deref())).await,
            Request::AbortSwitch { by } => return self.abort_switch(&by),
            Request::Releases => return aside(super::releases::list).await,
            Request::RecordRelease { holder, wait, number } => {
                let Some(grant) = self.granted(stream, &holder, wait).await? else { return Ok(Answer::Done) };
                return self.under(grant, holder, move |_| super::recorded::record(number)).await;
            }
            // Answered before.
            Request::Docker { .. }
            | Request::Registry { .. }
            | Request::GiveObjects { .. }
            | Request::Switch { .. }
            | Request::WatchSwitch
            | Request::Prune { .. }
            | Request::Lock { .. }
            | Request::Check { .. }
            | Request::RestoreSnapshot { .. }
            | Request::ExportSnapshot { .. }
            | Request::SendSnapshot { .. }
            | Request::IntoSnapshot { .. }
            | Request::ImportSnapshot { .. }
            | Request::CopySnapshot { .. }
            | Request::FetchSnapshot { .. } => {}
        }
        Ok(Answer::Done)
    }

    /// The lock, as soon as it is free; `None`: it is not, or whoever waited went away, and all is said.
    pub(super) async fn granted(&self, stream: &mut Connection, holder: &Holder, wait: bool) -> Result<Option<Grant>> {
        let mut told = false;
        loop {
            match self.lock.take(holder, now())? {
                Ok(grant) => return Ok(Some(grant)),
                Err((holder, since)) => {
                    if !told {
                        say(stream, &Answer::Busy { holder, since }).await;
                        told = true;
                    }
                    if !wait {
                        return Ok(None);
                    }
                    tokio::select! {
                        () = self.lock.freed() => {}
                        // Whoever waits says nothing: this is its end.
                        _ = stream.read_u8() => return Ok(None),
                    }
                }
            }
        }
    }

    /// Takes snapshots when they are due, for ever. One that was missed, because the node was off or somebody worked on it, is
    /// taken as soon as it can be.
    pub async fn schedule(self) {
        let mut pause = SCHEDULE;
        loop {
            tokio::time::sleep(pause).await;
            pause = SCHEDULE;
            match aside(snapshots::is_due).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    eprintln!("agent: cannot decide whether a snapshot is due: {error}");
                    pause = AFTER_FAILURE;
                    continue;
                }
            }
            let holder = Holder { who: "agent".into(), verb: "snapshot".into(), pid: std::process::id() };
            let Ok(Ok(grant)) = self.lock.take(&holder, now()) else { continue };
            if let Err(error) = self.under(grant, holder, |_| snapshots::take_due()).await {
                eprintln!("agent: the scheduled snapshot failed: {error}");
                pause = AFTER_FAILURE;
            }
        }
    }

    /// Does something that the agent itself holds the lock for, to its end, whether or not anybody listens.
    async fn under(
        &self,
        grant: Grant,
        holder: Holder,
        act: impl FnOnce(&str) -> Result<Answer> + Send + 'static,
    ) -> Result<Answer> {
        self.journaled(grant, holder, true, act).await
    }

    /// The same for what makes room, also where there is none for the journal: it is the way out.
    async fn making_room(
        &self,
        grant: Grant,
        holder: Holder,
        act: impl FnOnce(&str) -> Result<Answer> + Send + 'static,
    ) -> Result<Answer> {
        self.journaled(grant, holder, false, act).await
    }

    async fn journaled(
        &self,
        grant: Grant,
        holder: Holder,
        must: bool,
        act: impl FnOnce(&str) -> Result<Answer> + Send + 'static,
    ) -> Result<Answer> {
        let agent = self.clone();
        let by = holder.who.clone();
        let work = tokio::spawn(async move {
            let fence = grant.fence;
            let written = agent.journal(|journal| journal.begin(fence, holder, now()));
            let is_open = written.is_ok();
            written.or_else(|error| if must { Err(error) } else { Ok(()) })?;
            let work = move || {
                match snapshots::settle() {
                    Err(error) if must => return Err(error),
                    // Too little room may be why it does not come to its end.
                    Err(error) => eprintln!("agent: {error}"),
                    Ok(()) => {}
                }
                act(&by)
            };
            let result = aside(work).await;
            let end = result.as_ref().map(|_| ()).map_err(|error| error.message.clone());
            if is_open {
                let ended = agent.journal(|journal| journal.note(fence, Note::End(end), now()));
                ended.or_else(|error| if must { Err(error) } else { Ok(()) })?;
            }
            drop(grant);
            result
        });
        work.await.or_error(Kind::Other, || "the agent".into())?
    }

    /// Does something under the lock, to its end; tells each step as long as somebody listens.
    async fn told(
        &self,
        mut stream: Connection,
        grant: Grant,
        holder: Holder,
        act: impl FnOnce(&str, Box<dyn Fn(&str) + Send>) -> Result<Answer> + Send + 'static,
    ) {
        let (told, mut steps) = mpsc::unbounded_channel();
        let (agent, fence) = (self.clone(), grant.fence);
        let note = move |text: &str| {
            let _ = agent.journal(|journal| journal.note(fence, Note::Step(text.to_owned()), now()));
            let _ = told.send(text.to_owned());
        };
        let agent = self.clone();
        let work = tokio::spawn(async move { agent.under(grant, holder, move |by| act(by, Box::new(note))).await });
        while let Some(text) = steps.recv().await {
            say(&mut stream, &Answer::Step { text }).await;
        }
        let answer = work.await.or_error(Kind::Other, || "the agent".into()).and_then(|answer| answer);
        say(&mut stream, &answer.unwrap_or_else(Answer::from)).await;
    }

    /// Holds the lock until the connection ends; writes down what the holder says.
    async fn hold(&self, mut stream: Connection, holder: Holder, wait: bool) {
        let grant = match self.granted(&mut stream, &holder, wait).await {
            Ok(Some(grant)) => grant,
            Ok(None) => return,
            Err(error) => return say(&mut stream, &error.into()).await,
        };
        let fence = grant.fence;
        let begun = match self.journal(|journal| journal.begin(fence, holder, now())) {
            // Whatever is half done comes to its end before anybody builds on it.
            Ok(()) if snapshots::is_pending() || super::switch::is_pending() => aside(snapshots::settle).await,
            begun => begun,
        };
        if let Err(error) = begun {
            return say(&mut stream, &error.into()).await;
        }
        say(&mut stream, &Answer::Locked { fence }).await;
        let mut line = String::new();
        while matches!(stream.read_line(&mut line).await, Ok(1..)) {
            if let Ok(note) = serde_json::from_str::<Note>(&line) {
                let end = matches!(note, Note::End(_));
                if let Err(error) = self.journal(|journal| journal.note(fence, note, now())) {
                    return say(&mut stream, &error.into()).await;
                }
                if end {
                    drop(grant);
                    return say(&mut stream, &Answer::Done).await;
                }
            }
            line.clear();
        }
        drop(grant);
        if let Err(error) = self.journal(|journal| journal.lost(fence, now())) {
            eprintln!("agent: {error}");
        }
    }

    pub(super) fn watch(&self) -> MutexGuard<'_, Option<Watch>> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn journal<T>(&self, act: impl FnOnce(&mut Journal) -> T) -> T {
        act(&mut self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Work that blocks, on a thread of its own.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.or_error(Kind::Other, || "the agent".into())?
}

pub(super) async fn say(stream: &mut (impl AsyncWrite + Unpin), answer: &Answer) {
    if let Ok(mut line) = serde_json::to_vec(answer) {
        line.push(b'\n');
        // A peer that went away needs no answer.
        let _ = stream.write_all(&line).await;
    }
}

async fn receive(stream: &mut Connection, size: u64, limit: u64) -> Result<Vec<u8>> {
    if size > limit {
        return Err(Error::new(Kind::Refused, format!("{size} bytes are too many, at most {limit} are allowed")));
    }
    let mut bytes = Vec::new();
    let got = stream.take(size).read_to_end(&mut bytes).await;
    match got.or_error(Kind::Node, || "the connection broke".into())? {
        got if got as u64 == size => Ok(bytes),
        got => Err(Error::new(Kind::Node, format!("the connection broke after {got} of {size} bytes"))),
    }
}

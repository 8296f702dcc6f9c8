//! What all connections share, and work under the lock.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use lap_base::{
    clock::now,
    error::{Kind, OrError, Result},
};
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::journal::OpenJournal;
use crate::{
    agent::{
        lock::{Grant, NodeLock},
        pool::reserve,
        recovery::{RecoveryProgress, settle},
        switch::LastSwitch,
        system::{
            blocking::run_blocking,
            stream::{Connection, say},
        },
    },
    wire::protocol::{Holder, Note, Response},
};

/// What all connections share.
#[derive(Clone)]
pub struct Agent {
    journal: Arc<Mutex<OpenJournal>>,
    pub lock: NodeLock,
    /// Is told when a newer binary is in place.
    pub replaced: mpsc::Sender<()>,
    pub switch: LastSwitch,
    pub recovery: RecoveryProgress,
}

impl Agent {
    /// Opens the journal in `state`. `replaced` is told when a newer binary is in place.
    pub fn new(state: &Path, lock: NodeLock, replaced: mpsc::Sender<()>) -> Self {
        Self {
            journal: Arc::new(Mutex::new(OpenJournal::open(state))),
            lock,
            replaced,
            switch: LastSwitch::default(),
            recovery: RecoveryProgress::default(),
        }
    }

    /// The lock, as soon as it is free; `None`: it is not, or whoever waited went away, and all is said.
    pub(super) async fn granted(&self, stream: &mut Connection, holder: &Holder, wait: bool) -> Result<Option<Grant>> {
        let mut told = false;
        loop {
            match self.lock.take(holder, now())? {
                Ok(grant) => return Ok(Some(grant)),
                Err((holder, since)) => {
                    if !told {
                        say(stream, &Response::Busy { holder, since }).await;
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

    /// Does something that the agent itself holds the lock for, to its end, whether or not anybody listens.
    pub async fn run_locked(
        &self,
        grant: Grant,
        holder: Holder,
        act: impl FnOnce(&str) -> Result<Response> + Send + 'static,
    ) -> Result<Response> {
        self.journaled(grant, holder, true, act).await
    }

    /// The same for what makes room, also where there is none for the journal: it is the way out.
    pub async fn making_room(
        &self,
        grant: Grant,
        holder: Holder,
        act: impl FnOnce(&str) -> Result<Response> + Send + 'static,
    ) -> Result<Response> {
        self.journaled(grant, holder, false, act).await
    }

    pub async fn journaled(
        &self,
        grant: Grant,
        holder: Holder,
        must: bool,
        act: impl FnOnce(&str) -> Result<Response> + Send + 'static,
    ) -> Result<Response> {
        let agent = self.clone();
        let by = holder.who.clone();
        let work = tokio::spawn(async move {
            let fence = grant.fence;
            // The journal is on the same disk.
            let _room = run_blocking(|| Ok(reserve::open())).await?;
            let written = agent.journal(|journal| journal.begin(fence, holder, now()));
            let is_open = written.is_ok();
            // A full disk does not keep room from being made. A journal that cannot be read does.
            written.or_else(|error| if must || error.kind == Kind::Refused { Err(error) } else { Ok(()) })?;
            let work = move || {
                match settle() {
                    Err(error) if must => return Err(error),
                    // Too little room may be why it does not come to its end.
                    Err(error) => eprintln!("agent: {error}"),
                    Ok(()) => {}
                }
                act(&by)
            };
            let result = run_blocking(work).await;
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
    pub async fn run_with_steps(
        &self,
        mut stream: Connection,
        grant: Grant,
        holder: Holder,
        act: impl FnOnce(&str, Box<dyn Fn(&str) + Send>) -> Result<Response> + Send + 'static,
    ) {
        let (told, mut steps) = mpsc::unbounded_channel();
        let (agent, fence) = (self.clone(), grant.fence);
        let note = move |text: &str| {
            let _ = agent.journal(|journal| journal.note(fence, Note::Step(text.to_owned()), now()));
            let _ = told.send(text.to_owned());
        };
        let agent = self.clone();
        let work =
            tokio::spawn(async move { agent.run_locked(grant, holder, move |by| act(by, Box::new(note))).await });
        while let Some(text) = steps.recv().await {
            say(&mut stream, &Response::Step { text }).await;
        }
        let answer = work.await.or_error(Kind::Other, || "the agent".into()).and_then(|answer| answer);
        say(&mut stream, &answer.unwrap_or_else(Response::from)).await;
    }

    pub(super) fn journal<T>(&self, act: impl FnOnce(&mut OpenJournal) -> T) -> T {
        act(&mut self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! The node's end of [`super::relay`]: a repository behind standard input and output.

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use bytes::Bytes;

use super::{
    File, Folder, Storage,
    open::Tell,
    relay::{Act, Call, MOST, Reply},
};
use crate::agent::protocol::Answer;

type Waiting = Arc<Mutex<Option<HashMap<u64, mpsc::Sender<io::Result<Bytes>>>>>>;

/// The repository of whoever asked.
pub struct Remote {
    /// Who waits for which reply; `None`: nothing comes any more.
    waiting: Waiting,
    next: AtomicU64,
}

impl Remote {
    /// Standard input is its own from now on.
    pub fn start() -> Self {
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let mine = waiting.clone();
        std::thread::spawn(move || {
            while let Ok((number, result)) = reply(&mut io::stdin().lock()) {
                let asker = lock(&mine).as_mut().and_then(|waiting| waiting.remove(&number));
                if let Some(asker) = asker {
                    let _ = asker.send(result);
                }
            }
            // Their senders go, so all of them stop waiting.
            lock(&mine).take();
        });
        Self { waiting, next: AtomicU64::new(1) }
    }

    /// Tells whoever asked.
    pub fn tell(&self) -> Tell {
        Arc::new(|text: &str| {
            // Nobody listening is found out by the next question.
            let _ = say(&Answer::Step { text: text.to_owned() }, &[]);
        })
    }

    fn ask(&self, act: Act, parts: &[Bytes]) -> io::Result<Bytes> {
        let gone = || io::Error::other("whoever asked for this went away");
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        lock(&self.waiting).as_mut().ok_or_else(gone)?.insert(number, sender);
        let size = parts.iter().map(|part| part.len() as u64).sum();
        say(&Answer::Call(Call { number, act, size }), parts)?;
        receiver.recv().map_err(|_| gone())?
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(answer: &Answer, parts: &[Bytes]) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    parts.iter().try_for_each(|part| out.write_all(part))?;
    out.flush()
}

fn reply(from: &mut impl BufRead) -> io::Result<(u64, io::Result<Bytes>)> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let Reply { number, fault, size } = serde_json::from_str(&line)?;
    if size > MOST {
        return Err(io::Error::other("that is too much"));
    }
    let mut bytes = vec![0; size as usize];
    from.read_exact(&mut bytes)?;
    Ok((number, fault.map_or(Ok(bytes.into()), |fault| Err(fault.into()))))
}

impl Storage for Remote {
    fn list(&self, folder: Folder) -> io::Result<Vec<(File, u64)>> {
        Ok(serde_json::from_slice(&self.ask(Act::List(folder), &[])?)?)
    }

    fn read(&self, file: &File, range: Option<(u64, u64)>) -> io::Result<Bytes> {
        self.ask(Act::Read { file: file.clone(), range }, &[])
    }

    fn write(&self, file: &File, parts: &[Bytes]) -> io::Result<()> {
        self.ask(Act::Write(file.clone()), parts).map(drop)
    }

    fn look(&self) -> io::Result<Option<Vec<String>>> {
        Err(io::Error::other("a node does not look around"))
    }

    fn make(&self) -> io::Result<()> {
        Err(io::Error::other("a node makes no repositories"))
    }
}

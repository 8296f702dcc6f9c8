//! The node's end of [`super::relay`]: a repository behind a connection.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, IoSlice, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use nix::sys::signal::{Signal, raise};

use super::{
    file::{Folder, RepositoryFile},
    in_flight::{GONE, InFlightWrite, InFlightWrites},
    open::OnProgress,
    relay::{AT_ONCE, Call, MOST, Message, Operation, RelayReply},
    storage::Storage,
};

/// How long whoever works may clean up after whoever asked went away.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is read at a time.
const PIECE: usize = 256 << 10;

type Waiting = Arc<Mutex<Option<HashMap<u64, Asker>>>>;

/// Who is told what became of a question.
enum Asker {
    Waits(mpsc::Sender<io::Result<Bytes>>),
    /// Nobody yet: a pack on its way.
    InFlight(InFlightWrite),
}

/// The repository of whoever asked.
pub struct Remote {
    /// Who waits for which reply; `None`: nothing comes any more.
    waiting: Waiting,
    next: AtomicU64,
    out: Mutex<UnixStream>,
    in_flight: Arc<InFlightWrites>,
}

impl Remote {
    /// Listens to it from now on. When it ends, this process has a while to clean up.
    ///
    /// # Errors
    /// It is none.
    pub fn start(connection: UnixStream) -> io::Result<Self> {
        Self::until(connection, || {
            std::thread::sleep(PATIENCE);
            let _ = raise(Signal::SIGKILL);
        })
    }

    /// The same, with something else when it ends.
    pub(super) fn until(connection: UnixStream, end: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let mine = waiting.clone();
        let mut replies = BufReader::with_capacity(PIECE, connection.try_clone()?);
        std::thread::spawn(move || {
            while let Ok((number, result)) = reply(&mut replies) {
                let asker = lock(&mine).as_mut().and_then(|waiting| waiting.remove(&number));
                match asker {
                    Some(Asker::Waits(asker)) => drop(asker.send(result)),
                    Some(Asker::InFlight(pack)) => pack.end(result.map(drop)),
                    None => {}
                }
            }
            // Their senders go, so all of them stop waiting.
            lock(&mine).take();
            end();
        });
        Ok(Self { waiting, next: AtomicU64::new(1), out: Mutex::new(connection), in_flight: Arc::default() })
    }

    /// Tells whoever asked.
    pub fn tell(self: &Arc<Self>) -> OnProgress {
        let remote = self.clone();
        Arc::new(move |text: &str| {
            // Nobody listening is found out by the next question.
            let _ = remote.say(&Message::Step { text: text.to_owned() }, &[]);
        })
    }

    /// Says something, and the bytes that belong to it.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn say(&self, answer: &Message, parts: &[Bytes]) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        let mut all: Vec<IoSlice<'_>> = vec![IoSlice::new(&line)];
        all.extend(parts.iter().map(|part| IoSlice::new(part)));
        let mut left = &mut all[..];
        let mut out = lock(&self.out);
        while !left.is_empty() {
            // writev(2) takes so many.
            let most = left.len().min(1024);
            match out.write_vectored(&left[..most]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn ask(&self, act: Operation, parts: &[Bytes]) -> io::Result<Bytes> {
        let (sender, receiver) = mpsc::channel();
        self.call(act, parts, Asker::Waits(sender))?;
        receiver.recv().map_err(|_| io::Error::other(GONE))?
    }

    fn call(&self, act: Operation, parts: &[Bytes], asker: Asker) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).as_mut().ok_or_else(|| io::Error::other(GONE))?.insert(number, asker);
        let size = parts.iter().map(|part| part.len() as u64).sum();
        self.say(&Message::Call(Call { number, act, size }), parts)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reply(from: &mut impl BufRead) -> io::Result<(u64, io::Result<Bytes>)> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let RelayReply { number, fault, size } = serde_json::from_str(&line)?;
    if size > MOST {
        return Err(io::Error::other("the request is too large"));
    }
    let mut bytes = vec![0; size as usize];
    from.read_exact(&mut bytes)?;
    Ok((number, fault.map_or(Ok(bytes.into()), |fault| Err(fault.into()))))
}

impl Storage for Remote {
    fn list(&self, folder: Folder) -> io::Result<Vec<(RepositoryFile, u64)>> {
        Ok(serde_json::from_slice(&self.ask(Operation::List(folder), &[])?)?)
    }

    fn read(&self, file: &RepositoryFile, range: Option<(u64, u64)>) -> io::Result<Bytes> {
        self.ask(Operation::Read { file: file.clone(), range }, &[])
    }

    /// A pack is on its way when this returns: the library makes one after the other, and the way is long. What names packs, an
    /// index or a snapshot, is sent when all of them have arrived.
    fn write(&self, file: &RepositoryFile, parts: &[Bytes]) -> io::Result<()> {
        let act = Operation::Write(file.clone());
        if file.folder == Folder::Data {
            let pack = self.in_flight.begin(AT_ONCE)?;
            return self.call(act, parts, Asker::InFlight(pack));
        }
        self.in_flight.all()?;
        self.ask(act, parts).map(drop)
    }

    fn remove(&self, file: &RepositoryFile) -> io::Result<()> {
        Err(io::Error::other(format!("a node may not remove `{file}`")))
    }

    fn list_root(&self) -> io::Result<Option<Vec<String>>> {
        Err(io::Error::other("a node may not list files"))
    }

    fn make(&self) -> io::Result<()> {
        Err(io::Error::other("a node may not make repositories"))
    }
}

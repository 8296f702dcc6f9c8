//! The node's end of [`super::relay`]: a storage behind a connection.

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
    in_flight::{DISCONNECTED, InFlightWrite, InFlightWrites},
    open::OnProgress,
    relay::{Call, MAX_IN_PROGRESS, MAX_SIZE, Message, Operation, RelayReply},
    storage::Storage,
};

/// The time for cleaning up after the client has disconnected.
const CLEAN_UP_TIME: Duration = Duration::from_secs(20);
/// The size in bytes of the read buffer.
const BUFFER_SIZE: usize = 256 << 10;

type Waiting = Arc<Mutex<Option<HashMap<u64, PendingReply>>>>;

/// The receiver of a reply.
enum PendingReply {
    Caller(mpsc::Sender<io::Result<Bytes>>),
    /// A pack in progress. The next file that names packs waits for it.
    InFlight(InFlightWrite),
}

/// The repository of the client at the other end of the connection.
pub struct Remote {
    /// The receivers of pending replies by number. `None` means that the connection has ended.
    waiting: Waiting,
    next: AtomicU64,
    out: Mutex<UnixStream>,
    in_flight: Arc<InFlightWrites>,
}

impl Remote {
    /// Starts reading replies from `connection`. When it ends, this process has some seconds to clean up, and is then
    /// killed.
    ///
    /// # Errors
    /// The connection cannot be used.
    pub fn start(connection: UnixStream) -> io::Result<Self> {
        Self::until(connection, || {
            std::thread::sleep(CLEAN_UP_TIME);
            let _ = raise(Signal::SIGKILL);
        })
    }

    /// Starts reading replies, and calls `end` when the connection ends.
    pub(super) fn until(connection: UnixStream, end: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let mine = waiting.clone();
        let mut replies = BufReader::with_capacity(BUFFER_SIZE, connection.try_clone()?);
        std::thread::spawn(move || {
            while let Ok((number, result)) = reply(&mut replies) {
                let pending = lock(&mine).as_mut().and_then(|waiting| waiting.remove(&number));
                match pending {
                    Some(PendingReply::Caller(pending)) => drop(pending.send(result)),
                    Some(PendingReply::InFlight(pack)) => pack.end(result.map(drop)),
                    None => {}
                }
            }
            // This drops the senders, so all waiting calls return an error.
            lock(&mine).take();
            end();
        });
        Ok(Self { waiting, next: AtomicU64::new(1), out: Mutex::new(connection), in_flight: Arc::default() })
    }

    /// Returns a function that sends progress messages to the client.
    pub fn tell(self: &Arc<Self>) -> OnProgress {
        let remote = self.clone();
        Arc::new(move |text: &str| {
            // A closed connection is an error of the next request.
            let _ = remote.say(&Message::Step { text: text.to_owned() }, &[]);
        })
    }

    /// Sends a message, followed by its bytes.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn say(&self, answer: &Message, parts: &[Bytes]) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        let mut all: Vec<IoSlice<'_>> = vec![IoSlice::new(&line)];
        all.extend(parts.iter().map(|part| IoSlice::new(part)));
        let mut left = &mut all[..];
        let mut out = lock(&self.out);
        while !left.is_empty() {
            // The limit of writev(2).
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
        self.call(act, parts, PendingReply::Caller(sender))?;
        receiver.recv().map_err(|_| io::Error::other(DISCONNECTED))?
    }

    fn call(&self, act: Operation, parts: &[Bytes], pending: PendingReply) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).as_mut().ok_or_else(|| io::Error::other(DISCONNECTED))?.insert(number, pending);
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
    if size > MAX_SIZE {
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

    /// Returns before a pack has arrived, because the next pack can be made while this one is sent. An index or a
    /// snapshot names packs, so it is sent only after all packs have arrived.
    fn write(&self, file: &RepositoryFile, parts: &[Bytes]) -> io::Result<()> {
        let act = Operation::Write(file.clone());
        if file.folder == Folder::Data {
            let pack = self.in_flight.begin(MAX_IN_PROGRESS)?;
            return self.call(act, parts, PendingReply::InFlight(pack));
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

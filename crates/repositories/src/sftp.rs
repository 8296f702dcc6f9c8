//! A repository on another machine, through stock `ssh` and its SFTP server (draft-ietf-secsh-filexfer-02, which
//! OpenSSH implements). The other machine does not need lap.

use std::{
    io::{self, BufReader, BufWriter, ErrorKind, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use lap_base::error::{Error, Kind, Result};

use super::{
    file::{Folder, RepositoryFile},
    storage::Storage,
};

/// The size in bytes of one read or write. Every server accepts it.
const PIECE: u32 = 32 << 10;
/// The maximum number of requests in progress.
const MAX_IN_PROGRESS: usize = 64;
/// The maximum size in bytes of a response. Directories and files arrive in parts.
const MAX_RESPONSE: u32 = 1 << 20;
/// The directory for incomplete files, as in `directory`.
const TEMPORARY: &str = "tmp";

mod kind {
    pub const INIT: u8 = 1;
    pub const VERSION: u8 = 2;
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const STAT: u8 = 17;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED: u8 = 200;
}

const READ: u32 = 1;
/// Write, create, truncate.
const REPLACE: u32 = 2 | 8 | 16;
const IS_DIRECTORY: u32 = 0o040_000;

/// A connection to an SFTP server.
pub struct Sftp {
    root: String,
    next: AtomicU32,
    wire: Mutex<Wire>,
}

struct Wire {
    child: Child,
    to: BufWriter<ChildStdin>,
    from: BufReader<ChildStdout>,
    number: u32,
    /// Whether the server can synchronize a file, and rename over an existing file in one step.
    can_sync: bool,
    can_replace: bool,
}

/// The size and the mode of a file.
struct Attributes {
    size: u64,
    mode: u32,
}

impl Sftp {
    /// Connects to `host`. `ssh` asks the user for what it needs, for example a passphrase.
    ///
    /// # Errors
    /// The machine cannot be reached, or has no SFTP server.
    pub fn connect(host: &str, root: &str) -> Result<Self> {
        let what = || format!("cannot reach `{host}` with ssh");
        // The same call as in scp(1) and restic. Options before the host do not disable the user's own configuration.
        let mut command = Command::new("ssh");
        command.args(["-oServerAliveInterval=15", "-oServerAliveCountMax=4", "-oClearAllForwardings=yes"]);
        command.args(["-s", "--", host, "sftp"]);
        Self::start(&mut command, root).map_err(|_| {
            Error::new(Kind::Host, what()).hint(format!("`sftp {host}` must work first: its output is above"))
        })
    }

    /// Starts a command that speaks the protocol on its standard input and output.
    pub(super) fn start(command: &mut Command, root: &str) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        let (to, from) = (BufWriter::with_capacity(256 << 10, to), BufReader::with_capacity(256 << 10, from));
        let mut wire = Wire { child, to, from, number: 0, can_sync: false, can_replace: false };
        wire.greet()?;
        Ok(Self { root: root.to_owned(), next: AtomicU32::new(0), wire: Mutex::new(wire) })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Wire) -> io::Result<T>) -> io::Result<T> {
        act(&mut self.wire.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn path(&self, below: &str) -> String {
        if below.is_empty() { self.root.clone() } else { format!("{}/{below}", self.root) }
    }
}

impl Storage for Sftp {
    fn list(&self, folder: Folder) -> io::Result<Vec<(RepositoryFile, u64)>> {
        self.with(|wire| {
            if folder == Folder::Config {
                return Ok(wire
                    .stat(&self.path("config"))?
                    .map(|meta| (RepositoryFile::config(), meta.size))
                    .into_iter()
                    .collect());
            }
            let mut all = wire.entries(&self.path(folder.name()))?.unwrap_or_default();
            if folder == Folder::Data {
                let below: Vec<String> =
                    all.iter().filter(|(_, meta)| meta.is_directory()).map(|(n, _)| n.clone()).collect();
                for name in below {
                    all.extend(wire.entries(&self.path(&format!("data/{name}")))?.unwrap_or_default());
                }
            }
            Ok(all
                .into_iter()
                .filter_map(|(name, meta)| Some((RepositoryFile::new(folder, &name)?, meta.size)))
                .collect())
        })
    }

    fn read(&self, file: &RepositoryFile, range: Option<(u64, u64)>) -> io::Result<Bytes> {
        let path = self.path(&file.path());
        self.with(|wire| {
            let (offset, length) = match range {
                Some(range) => range,
                None => (0, wire.stat(&path)?.ok_or(ErrorKind::NotFound)?.size),
            };
            wire.read(&path, offset, length).map(Bytes::from)
        })
    }

    fn write(&self, file: &RepositoryFile, parts: &[Bytes]) -> io::Result<()> {
        let target = self.path(&file.path());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temporary = self.path(&format!("{TEMPORARY}/{}-{number}", std::process::id()));
        self.with(|wire| {
            if wire.stat(&target)?.is_some() {
                return Ok(());
            }
            // `data` must exist before `data/ab`.
            for directory in [TEMPORARY, file.folder.name(), &file.directory()] {
                if file.folder != Folder::Config || directory == TEMPORARY {
                    wire.make(&self.path(directory))?;
                }
            }
            wire.write(&temporary, parts).and_then(|()| wire.rename(&temporary, &target)).inspect_err(|_| {
                let _ = wire.status(kind::REMOVE, |body| string(body, temporary.as_bytes()));
            })
        })
    }

    fn remove(&self, file: &RepositoryFile) -> io::Result<()> {
        let path = self.path(&file.path());
        match self.with(|wire| wire.status(kind::REMOVE, |body| string(body, path.as_bytes()))) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn list_root(&self) -> io::Result<Option<Vec<String>>> {
        let entries = self.with(|wire| wire.entries(&self.root))?;
        Ok(entries.map(|all| all.into_iter().map(|(name, _)| name).collect()))
    }

    fn make(&self) -> io::Result<()> {
        self.with(|wire| wire.make(&self.root))
    }
}

impl Attributes {
    fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == IS_DIRECTORY
    }
}

impl Wire {
    fn greet(&mut self) -> io::Result<()> {
        self.to.write_all(&[0, 0, 0, 5, kind::INIT, 0, 0, 0, 3])?;
        self.to.flush()?;
        let (answer, body) = self.packet()?;
        let mut body = Body(&body);
        if answer != kind::VERSION || body.number()? != 3 {
            return Err(io::Error::other("not an SFTP server of version 3"));
        }
        while !body.0.is_empty() {
            let name = body.string()?.to_vec();
            body.string()?;
            self.can_sync |= name == b"fsync@openssh.com";
            self.can_replace |= name == b"posix-rename@openssh.com";
        }
        Ok(())
    }

    /// Sends a request and returns its number.
    fn send(&mut self, request: u8, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<u32> {
        self.number = self.number.wrapping_add(1);
        let mut body = vec![request];
        body.extend(self.number.to_be_bytes());
        fill(&mut body);
        self.to.write_all(&(body.len() as u32).to_be_bytes())?;
        self.to.write_all(&body)?;
        Ok(self.number)
    }

    fn packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.from.read_exact(&mut head).map_err(|_| io::Error::other("the connection broke"))?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if !(1..=MAX_RESPONSE).contains(&length) {
            return Err(io::Error::other("the other side is not an SFTP server"));
        }
        let mut body = vec![0; length as usize - 1];
        self.from.read_exact(&mut body).map_err(|_| io::Error::other("the connection broke"))?;
        Ok((head[4], body))
    }

    /// Returns the response to a request, which has the type `wanted` or is an error. The server responds in the order
    /// of the requests.
    fn answer(&mut self, number: u32, wanted: u8) -> io::Result<Vec<u8>> {
        let (answer, body) = self.packet()?;
        let mut rest = Body(&body);
        if rest.number()? != number {
            return Err(io::Error::other("an unexpected answer"));
        }
        if answer == kind::STATUS {
            let code = rest.number()?;
            let text = rest.string().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
            return match code {
                0 if wanted == kind::STATUS => Ok(Vec::new()),
                1 => Err(ErrorKind::UnexpectedEof.into()),
                2 => Err(ErrorKind::NotFound.into()),
                3 => Err(io::Error::new(ErrorKind::PermissionDenied, text)),
                _ if text.contains("No space left") => Err(ErrorKind::StorageFull.into()),
                // OpenSSH sends only "Failure", also if the disk is full.
                4 => Err(io::Error::other("the server says `Failure` (is its disk full?)")),
                _ => Err(io::Error::other(text)),
            };
        }
        if answer == wanted { Ok(rest.0.to_vec()) } else { Err(io::Error::other("an answer of another type")) }
    }

    fn ask(&mut self, request: u8, wanted: u8, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<Vec<u8>> {
        let number = self.send(request, fill)?;
        self.to.flush()?;
        self.answer(number, wanted)
    }

    fn status(&mut self, request: u8, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.ask(request, kind::STATUS, fill).map(drop)
    }

    fn stat(&mut self, path: &str) -> io::Result<Option<Attributes>> {
        match self.ask(kind::STAT, kind::ATTRS, |body| string(body, path.as_bytes())) {
            Ok(body) => Body(&body).attributes().map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn make(&mut self, path: &str) -> io::Result<()> {
        if self.stat(path)?.is_some_and(|meta| meta.is_directory()) {
            return Ok(());
        }
        self.status(kind::MKDIR, |body| {
            string(body, path.as_bytes());
            body.extend([0; 4]);
        })
    }

    fn open(&mut self, path: &str, flags: u32) -> io::Result<Vec<u8>> {
        let body = self.ask(kind::OPEN, kind::HANDLE, |body| {
            string(body, path.as_bytes());
            body.extend(flags.to_be_bytes());
            // Mode 0600.
            body.extend([0, 0, 0, 4, 0, 0, 0x01, 0x80]);
        })?;
        Body(&body).string().map(<[u8]>::to_vec)
    }

    fn close(&mut self, handle: &[u8]) -> io::Result<()> {
        self.status(kind::CLOSE, |body| string(body, handle))
    }

    fn entries(&mut self, path: &str) -> io::Result<Option<Vec<(String, Attributes)>>> {
        let handle = match self.ask(kind::OPENDIR, kind::HANDLE, |body| string(body, path.as_bytes())) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            body => Body(&body?).string()?.to_vec(),
        };
        let mut all = Vec::new();
        loop {
            let body = match self.ask(kind::READDIR, kind::NAME, |body| string(body, &handle)) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                body => body?,
            };
            let mut body = Body(&body);
            for _ in 0..body.number()? {
                let name = String::from_utf8_lossy(body.string()?).into_owned();
                // The line of `ls -l`, which is ignored.
                body.string()?;
                let meta = body.attributes()?;
                if name != "." && name != ".." {
                    all.push((name, meta));
                }
            }
        }
        self.close(&handle)?;
        Ok(Some(all))
    }

    /// Sends many requests before it waits for the first response. Otherwise each piece would take a round trip.
    fn read(&mut self, path: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let handle = self.open(path, READ)?;
        let mut out = Vec::new();
        let result = self.pieces(&handle, offset, length, &mut out);
        self.close(&handle)?;
        result.map(|()| out)
    }

    fn pieces(&mut self, handle: &[u8], offset: u64, length: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let mut asked = std::collections::VecDeque::new();
        let (mut next, end) = (offset, offset + length);
        let mut failed = None;
        while next < end || !asked.is_empty() {
            while next < end && asked.len() < MAX_IN_PROGRESS && failed.is_none() {
                let size = u64::from(PIECE).min(end - next) as u32;
                let number = self.send(kind::READ, |body| {
                    string(body, handle);
                    body.extend(next.to_be_bytes());
                    body.extend(size.to_be_bytes());
                })?;
                asked.push_back((number, size));
                next += u64::from(size);
            }
            self.to.flush()?;
            let Some((number, size)) = asked.pop_front() else { break };
            // Every request gets a response, whatever the first response was.
            match self.answer(number, kind::DATA).and_then(|body| Ok(Body(&body).string()?.to_vec())) {
                Ok(piece) if piece.len() == size as usize => out.extend(piece),
                // A server may send less than requested. The known servers do so only at the end of the file.
                Ok(_) => failed = failed.or(Some(ErrorKind::UnexpectedEof.into())),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn write(&mut self, path: &str, parts: &[Bytes]) -> io::Result<()> {
        let handle = self.open(path, REPLACE)?;
        let mut asked = std::collections::VecDeque::new();
        let (mut offset, mut failed) = (0_u64, None);
        let pieces = parts.iter().flat_map(|part| part.chunks(PIECE as usize));
        for piece in pieces {
            let number = self.send(kind::WRITE, |body| {
                string(body, &handle);
                body.extend(offset.to_be_bytes());
                string(body, piece);
            })?;
            asked.push_back(number);
            offset += piece.len() as u64;
            if asked.len() > MAX_IN_PROGRESS
                && let Some(number) = asked.pop_front()
            {
                self.to.flush()?;
                failed = self.answer(number, kind::STATUS).err().or(failed);
            }
            if failed.is_some() {
                break;
            }
        }
        self.to.flush()?;
        for number in asked {
            failed = self.answer(number, kind::STATUS).err().or(failed);
        }
        if failed.is_none() && self.can_sync {
            let synced = self.status(kind::EXTENDED, |body| {
                string(body, b"fsync@openssh.com");
                string(body, &handle);
            });
            failed = synced.err();
        }
        let closed = self.close(&handle);
        failed.map_or(closed, Err)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (request, name) = if self.can_replace { (kind::EXTENDED, true) } else { (18, false) };
        self.status(request, |body| {
            if name {
                string(body, b"posix-rename@openssh.com");
            }
            string(body, from.as_bytes());
            string(body, to.as_bytes());
        })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn string(body: &mut Vec<u8>, text: &[u8]) {
    body.extend((text.len() as u32).to_be_bytes());
    body.extend(text);
}

/// The unread rest of a response.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| io::Error::other("an answer is truncated"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> io::Result<u32> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn string(&mut self) -> io::Result<&'a [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn attributes(&mut self) -> io::Result<Attributes> {
        let flags = self.number()?;
        let mut out = Attributes { size: 0, mode: 0 };
        if flags & 1 != 0 {
            out.size = u64::from(self.number()?) << 32 | u64::from(self.number()?);
        }
        if flags & 2 != 0 {
            self.take(8)?;
        }
        if flags & 4 != 0 {
            out.mode = self.number()?;
        }
        if flags & 8 != 0 {
            self.take(8)?;
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.number()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(out)
    }
}

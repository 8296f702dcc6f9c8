//! The journal of registered names: an image, then every change in order. A change is acknowledged only when the
//! journal contains it on the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lap_base::durable;

use super::frame::{self, Frame};

/// The first line of the file, which identifies the format for people and for later versions.
pub const MAGIC: &[u8] = b"lap dns journal 1\n";
const FILE: &str = "names.journal";
/// The time for which the lock may be held by a child process between fork and exec.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// An open journal. Only one process at a time can have it open.
#[derive(Debug)]
pub struct ZoneJournal {
    directory: PathBuf,
    file: File,
    /// The position of the next frame. Later bytes were never acknowledged.
    length: u64,
    /// The size of the image after the last rewrite.
    image: u64,
    /// Whether a write failed. Then the content of the file is unknown, and it must be rewritten.
    is_doubtful: bool,
    _lock: File,
}

/// The result of opening a journal.
#[derive(Debug, Default)]
pub struct JournalState {
    pub frames: usize,
    /// A sentence that describes unreadable bytes after the last valid frame.
    pub damage: Option<String>,
}

/// Locks the journal. A child of this process holds the lock between its fork and its exec, so the call tries again for
/// a short time.
fn alone(lock: &File) -> io::Result<()> {
    let began = Instant::now();
    while lock.try_lock().is_err() {
        if began.elapsed() > LOCK_TIMEOUT {
            return Err(io::Error::other("another name server uses it"));
        }
        std::thread::sleep(LOCK_TIMEOUT / 50);
    }
    Ok(())
}

impl ZoneJournal {
    /// Opens the journal in `directory`, or creates one, and passes every valid frame to `each`. If a frame is damaged,
    /// the file is also kept under another name, and the journal must be rewritten before the next change.
    ///
    /// # Errors
    /// The directory cannot be written, or another process has the journal open.
    pub fn open(directory: &Path, mut each: impl FnMut(Frame)) -> io::Result<(Self, JournalState)> {
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(directory.join("lock"))?;
        alone(&lock)?;
        let path = directory.join(FILE);
        // This file is an incomplete rewrite.
        let _ = fs::remove_file(new_path(&path));
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut found = JournalState::default();
        let mut good = 0;
        // An image contains no changes, so it ends at the first change.
        let mut image = None;
        if bytes.starts_with(MAGIC) {
            good = MAGIC.len();
            while let Some((frame, size)) = frame::read(&bytes[good..]) {
                if matches!(frame, Frame::Change(_)) {
                    image = image.or(Some(good as u64));
                }
                each(frame);
                good += size;
                found.frames += 1;
            }
        }
        let mut is_doubtful = false;
        if good < bytes.len() {
            // A hard link needs no space, unlike a copy. The new journal then replaces the first name.
            let aside = directory.join(format!("{FILE}.damaged"));
            let _ = fs::remove_file(&aside);
            fs::hard_link(&path, &aside)?;
            is_doubtful = true;
            found.damage = Some(format!(
                "the journal is damaged {good} bytes from its start: the {} bytes from there are ignored, the whole file is kept as `{}`",
                bytes.len() - good,
                aside.display()
            ));
        } else if good == 0 {
            // If the disk is full, the first update fails too, and reports it to its client.
            is_doubtful = file.write_all(MAGIC).is_err();
            good = MAGIC.len();
        }
        file.sync_all()?;
        durable::sync(directory)?;
        let length = good as u64;
        file.seek(SeekFrom::Start(length))?;
        let image = image.unwrap_or(length);
        let journal = Self { directory: directory.into(), file, length, image, is_doubtful, _lock: lock };
        Ok((journal, found))
    }

    /// Appends frames and waits until the disk has them. After an error, none of them counts.
    pub fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        if self.is_doubtful {
            return Err(io::Error::other("an earlier write failed"));
        }
        let written = self.file.write_all(frames).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += frames.len() as u64,
            Err(_) => {
                // After a failed fsync(2), the content on the disk is unknown. Nothing more is written to this file.
                self.is_doubtful = true;
                let _ = self.file.set_len(self.length);
            }
        }
        written
    }

    /// Returns whether the journal must be rewritten.
    pub fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Delays the next rewrite until the journal is four times as long, because there is no space now.
    pub fn postpone_rewriting(&mut self) {
        self.image = self.length;
    }

    /// Returns whether a write failed, or the journal is so much longer than its image that a rewrite is useful.
    pub fn wants_rewriting(&self) -> bool {
        self.is_doubtful || self.length > 4 * self.image.max(1 << 20)
    }

    /// Replaces the journal, in one step, by a new one with these frames only.
    pub fn rewrite(&mut self, frames: impl Iterator<Item = Frame>) -> io::Result<()> {
        let path = self.directory.join(FILE);
        let new = new_path(&path);
        let written = write_new(&new, frames).and_then(|file| fs::rename(&new, &path).map(|()| file));
        let mut file = match written {
            Ok(file) => file,
            Err(e) => {
                // On a full disk, the incomplete file would take the space for the next try.
                let _ = fs::remove_file(&new);
                return Err(e);
            }
        };
        // After the rename, the new file is the journal, even if the directory is not yet on the disk.
        self.length = file.stream_position()?;
        self.image = self.length;
        self.file = file;
        self.is_doubtful = true;
        durable::sync(&self.directory)?;
        self.is_doubtful = false;
        Ok(())
    }
}

/// Writes a complete journal and waits until the disk has it.
fn write_new(new: &Path, frames: impl Iterator<Item = Frame>) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(new)?;
    let mut bytes = MAGIC.to_vec();
    for frame in frames {
        frame::write(&mut bytes, &frame);
        if bytes.len() > 1 << 20 {
            file.write_all(&bytes)?;
            bytes.clear();
        }
    }
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(file)
}

fn new_path(path: &Path) -> PathBuf {
    path.with_extension("journal.new")
}

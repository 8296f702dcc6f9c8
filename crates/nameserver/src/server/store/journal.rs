//! The file of registered names: an image, then every change, in the order they were made. What is acknowledged is in it and
//! on the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lap_base::durable;

use super::frame::{self, Frame};

/// The first line, so that a person and a later lap know what it is.
pub const MAGIC: &[u8] = b"lap dns journal 1\n";
const FILE: &str = "names.journal";
/// For how long another holder of the lock may be one that goes away by itself.
const PATIENCE: Duration = Duration::from_millis(500);

/// An open journal. One process at a time has it.
#[derive(Debug)]
pub struct ZoneJournal {
    directory: PathBuf,
    file: File,
    /// Where the next frame goes: what lies beyond was never acknowledged.
    length: u64,
    /// Its size after the last rewriting.
    image: u64,
    /// The file is in doubt: a write failed, and only a new one can be trusted.
    doubtful: bool,
    _lock: File,
}

/// What opening it found.
#[derive(Debug, Default)]
pub struct JournalState {
    pub frames: usize,
    /// Something after the last good frame was unreadable: one sentence.
    pub damage: Option<String>,
}

/// A child of this process holds the lock from its fork to its exec: it is asked for until that must be over.
fn alone(lock: &File) -> io::Result<()> {
    let began = Instant::now();
    while lock.try_lock().is_err() {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other("another name server uses it"));
        }
        std::thread::sleep(PATIENCE / 50);
    }
    Ok(())
}

impl ZoneJournal {
    /// Opens the journal in `directory`, or makes one, and hands every good frame to `each`. Where one is damaged, the file
    /// is kept under another name and wants rewriting before anything is added.
    ///
    /// # Errors
    /// The directory cannot be written, or another process has the journal.
    pub fn open(directory: &Path, mut each: impl FnMut(Frame)) -> io::Result<(Self, JournalState)> {
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(directory.join("lock"))?;
        alone(&lock)?;
        let path = directory.join(FILE);
        // A rewriting that did not come to its end.
        let _ = fs::remove_file(new_path(&path));
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut found = JournalState::default();
        let mut good = 0;
        // An image has no changes: it ends at the first.
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
        let mut doubtful = false;
        if good < bytes.len() {
            // A second name, not a copy: it needs no room, and a new journal will take the place of the first.
            let aside = directory.join(format!("{FILE}.damaged"));
            let _ = fs::remove_file(&aside);
            fs::hard_link(&path, &aside)?;
            doubtful = true;
            found.damage = Some(format!(
                "the journal is damaged {good} bytes from its start: the {} bytes from there are ignored, the whole file is kept as `{}`",
                bytes.len() - good,
                aside.display()
            ));
        } else if good == 0 {
            // A full disk is found out again at the first update, and told to whom it concerns.
            doubtful = file.write_all(MAGIC).is_err();
            good = MAGIC.len();
        }
        file.sync_all()?;
        durable::sync(directory)?;
        let length = good as u64;
        file.seek(SeekFrom::Start(length))?;
        let image = image.unwrap_or(length);
        let journal = Self { directory: directory.into(), file, length, image, doubtful, _lock: lock };
        Ok((journal, found))
    }

    /// Writes frames behind the others and waits until the disk has them. On an error none of them counts.
    pub fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        if self.doubtful {
            return Err(io::Error::other("an earlier write failed"));
        }
        let written = self.file.write_all(frames).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += frames.len() as u64,
            Err(_) => {
                // After a failed sync nobody knows what the disk has (fsync(2)): this file gets nothing more.
                self.doubtful = true;
                let _ = self.file.set_len(self.length);
            }
        }
        written
    }

    /// Only a new one can be trusted.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// There is no room for a new one now: tries again when it is much longer.
    pub fn postpone_rewriting(&mut self) {
        self.image = self.length;
    }

    /// A write failed, or the journal is so much longer than its image that a new one is worth while.
    pub fn wants_rewriting(&self) -> bool {
        self.doubtful || self.length > 4 * self.image.max(1 << 20)
    }

    /// Puts a new journal of only these frames in the place of the old one, as one step.
    pub fn rewrite(&mut self, frames: impl Iterator<Item = Frame>) -> io::Result<()> {
        let path = self.directory.join(FILE);
        let new = new_path(&path);
        let written = write_new(&new, frames).and_then(|file| fs::rename(&new, &path).map(|()| file));
        let mut file = match written {
            Ok(file) => file,
            Err(e) => {
                // On a full disk it would take the room that others, or the next try, need.
                let _ = fs::remove_file(&new);
                return Err(e);
            }
        };
        // From here on the new file is the journal, whether or not the disk has heard of it.
        self.length = file.stream_position()?;
        self.image = self.length;
        self.file = file;
        self.doubtful = true;
        durable::sync(&self.directory)?;
        self.doubtful = false;
        Ok(())
    }
}

/// Writes a whole journal and waits until the disk has it.
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

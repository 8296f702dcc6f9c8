//! A file system with one file, which is the disk below a loop device. Every write and every flush of the disk is a message of the
//! kernel to this process (`include/uapi/linux/fuse.h`), so the order of both is known.
//!
//! The kernel gets an answer only when the write is in the image and in the log. The mount point is the file itself: no names are
//! looked up.

use std::{
    fs::File,
    io::{Read, Write},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::Path,
    sync::Arc,
    thread,
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::stat::{Mode, SFlag, makedev, mknod},
};

use super::log::Log;

const HEAD: usize = 40;
const WRITE_HEAD: usize = 40;
/// The largest write.
const MOST: usize = 1 << 20;
const PAGE: usize = 4096;

const OP_FORGET: u32 = 2;
const OP_GETATTR: u32 = 3;
const OP_SETATTR: u32 = 4;
const OP_OPEN: u32 = 14;
const OP_READ: u32 = 15;
const OP_WRITE: u32 = 16;
const OP_RELEASE: u32 = 18;
const OP_FSYNC: u32 = 20;
const OP_FLUSH: u32 = 25;
const OP_INIT: u32 = 26;
const OP_INTERRUPT: u32 = 36;
const OP_DESTROY: u32 = 38;
const OP_BATCH_FORGET: u32 = 42;

/// `FUSE_BIG_WRITES` and `FUSE_MAX_PAGES`.
const FLAGS: u32 = 1 << 5 | 1 << 22;
/// `FOPEN_KEEP_CACHE`
const KEEP_CACHE: u32 = 1 << 1;

/// Mounts the file over the file `at`. A thread serves it until it is unmounted.
pub fn serve(at: &Path, image: File, log: Arc<Log>) {
    let device = open_device(at);
    let options = format!("fd={},rootmode=100600,user_id=0,group_id=0", device.as_raw_fd());
    mount(Some("lap-power"), at, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
    let size = image.metadata().unwrap().len();
    thread::spawn(move || Server { device, image, size, log }.run());
}

/// A container has no device of that name unless it was given one, and may open it all the same.
fn open_device(beside: &Path) -> File {
    let open = |path: &Path| File::options().read(true).write(true).open(path);
    let own = beside.with_extension("fuse");
    let made = || {
        let _ = mknod(&own, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(10, 229));
        open(&own)
    };
    open(Path::new("/dev/fuse")).or_else(|_| made()).expect("these tests need FUSE (`modprobe fuse`)")
}

struct Server {
    device: File,
    image: File,
    size: u64,
    log: Arc<Log>,
}

impl Server {
    fn run(mut self) {
        let mut message = vec![0; MOST + PAGE * 4];
        loop {
            match self.device.read(&mut message) {
                Ok(length) => self.handle(&message[..length]),
                Err(error)
                    if [Errno::EINTR, Errno::EAGAIN, Errno::ENOENT].map(|e| e as i32).contains(&code(&error)) => {}
                // It was unmounted.
                Err(_) => return,
            }
        }
    }

    fn handle(&mut self, message: &[u8]) {
        let (operation, unique, body) = (u32_at(message, 4), u64_at(message, 8), &message[HEAD..]);
        let answer = match operation {
            OP_FORGET | OP_BATCH_FORGET | OP_INTERRUPT => return,
            OP_INIT => Ok(init()),
            OP_GETATTR | OP_SETATTR => Ok(self.attributes()),
            OP_OPEN => Ok([&[0; 8][..], &KEEP_CACHE.to_ne_bytes(), &[0; 4]].concat()),
            OP_READ => self.read(u64_at(body, 8), u32_at(body, 16) as usize),
            OP_WRITE => self.write(u64_at(body, 8), &body[WRITE_HEAD..]),
            OP_FSYNC => {
                self.log.flush();
                Ok(Vec::new())
            }
            OP_RELEASE | OP_FLUSH | OP_DESTROY => Ok(Vec::new()),
            _ => Err(Errno::ENOSYS),
        };
        let (error, bytes) = answer.map_or_else(|error| (-(error as i32), Vec::new()), |bytes| (0, bytes));
        let length = (16 + bytes.len()) as u32;
        let reply = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes(), &bytes].concat();
        // The one who asked may have been interrupted: then there is no one to answer.
        let _ = self.device.write(&reply);
    }

    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let length = length.min(self.size.saturating_sub(at) as usize);
        let mut bytes = vec![0; length];
        self.image.read_exact_at(&mut bytes, at).map_err(|_| Errno::EIO)?;
        Ok(bytes)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<Vec<u8>, Errno> {
        if at + bytes.len() as u64 > self.size {
            return Err(Errno::ENOSPC);
        }
        self.log.write(&self.image, at, bytes).map_err(|_| Errno::EIO)?;
        Ok([(bytes.len() as u32).to_ne_bytes(), [0; 4]].concat())
    }

    /// `struct fuse_attr_out`
    fn attributes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Valid for an hour; padding; inode, size, blocks, three times.
        for number in [3600, 0, 1, self.size, self.size / 512, 0, 0, 0] {
            out.extend(number.to_ne_bytes());
        }
        // Three times in nanoseconds, mode, links, owner, group, device, block size, flags.
        for number in [0, 0, 0, 0o100_600, 1, 0, 0, 0, PAGE as u32, 0] {
            out.extend(number.to_ne_bytes());
        }
        out
    }
}

/// `struct fuse_init_out`
fn init() -> Vec<u8> {
    let mut out = Vec::new();
    for number in [7, 31, MOST as u32, FLAGS] {
        out.extend(number.to_ne_bytes());
    }
    // Requests in the background, and when that is too many.
    out.extend([16_u16, 12].map(u16::to_ne_bytes).concat());
    out.extend([MOST as u32, 1].map(u32::to_ne_bytes).concat());
    // The most pages of one request; alignment.
    out.extend([(MOST / PAGE) as u16, 0].map(u16::to_ne_bytes).concat());
    out.extend([0; 32]);
    out
}

fn code(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

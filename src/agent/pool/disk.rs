//! A disk of its own for the pool. What is on it is never taken for nothing: only an empty one is made into a pool.

use std::{fs, path::Path, process::Command, time::Duration};

use lap_base::error::{Error, Kind, OrError, Result};
use lap_snapshots::Filesystem;

use super::mkfs::{self, LABEL};

/// Where btrfs' magic number is: the superblock is at 64 KiB.
const MAGIC_AT: usize = (64 << 10) + 64;
/// A machine that boots may see its disks a moment later than us.
const PATIENCE: Duration = Duration::from_secs(20);

/// Mounts the pool on this disk, made first if the disk is empty.
///
/// # Errors
/// There is no such disk; something else is on it.
pub fn mount(device: &str, desired: Option<Filesystem>) -> Result<()> {
    let until = std::time::Instant::now() + PATIENCE;
    while !Path::new(device).exists() {
        if std::time::Instant::now() > until {
            return Err(Error::new(Kind::Node, format!("there is no disk `{device}` for the pool"))
                .hint("check the machine's disks, and `device` in its node.toml"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let filesystem = match content(device)? {
        Content::Pool(filesystem) => filesystem,
        Content::Nothing => mkfs::make(desired, device)?,
        Content::Other(what) => {
            return Err(Error::new(Kind::Refused, format!("`{device}` is not empty: {what}"))
                .hint("if you do not need this data, run `wipefs --all` on the machine; lap never does this itself"));
        }
    };
    mkfs::mount(filesystem, device, false)
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    Nothing,
    Pool(Filesystem),
    Other(String),
}

/// What blkid(8) finds when it looks at the disk itself.
fn content(device: &str) -> Result<Content> {
    let what = || format!("cannot look at `{device}`");
    let output = Command::new("blkid").args(["-p", "-o", "export", device]).output().or_error(Kind::Node, what)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) => Ok(found(&text)),
        // Nothing that it knows; but a disk that was written to without any sign of it is not empty either.
        Some(2) if never_used(device).or_error(Kind::Node, what)? => Ok(Content::Nothing),
        Some(2) => Ok(Content::Other("an unknown format, but the disk begins with data".into())),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Error::new(Kind::Node, format!("{}: {said}", what())))
        }
    }
}

fn found(text: &str) -> Content {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let pool = value("TYPE").and_then(Filesystem::named).filter(|_| value("LABEL") == Some(LABEL));
    if let Some(filesystem) = pool {
        return Content::Pool(filesystem);
    }
    match (value("TYPE").or(value("PTTYPE")), value("LABEL")) {
        (Some(kind), Some(label)) => Content::Other(format!("{kind} with the label `{label}`")),
        (Some(kind), None) => Content::Other(kind.to_owned()),
        (None, _) => Content::Other("something".to_owned()),
    }
}

/// Zeros, or a btrfs pool whose making was cut off: mkfs.btrfs gives its superblock the right magic number last.
fn never_used(device: &str) -> std::io::Result<bool> {
    use std::io::Read;
    let mut first = Vec::new();
    fs::File::open(device)?.take(1 << 20).read_to_end(&mut first)?;
    let half_made = first.get(MAGIC_AT..MAGIC_AT + 8) == Some(b"!BHRfS_M");
    Ok(half_made || first.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_label_is_a_pool() {
        assert_eq!(found("DEVNAME=/dev/vdb\nLABEL=lap\nTYPE=btrfs\n"), Content::Pool(Filesystem::Btrfs));
        assert_eq!(found("LABEL=lap\nTYPE=ext4\n"), Content::Pool(Filesystem::Ext4));
        assert_eq!(found("LABEL=home\nTYPE=btrfs\n"), Content::Other("btrfs with the label `home`".into()));
        assert_eq!(found("PTUUID=1\nPTTYPE=dos\n"), Content::Other("dos".into()));
        assert_eq!(found("AMBIVALENT=a b\n"), Content::Other("something".into()));
    }

    #[test]
    fn data_without_a_sign_is_not_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let file = fs::File::create(&path).unwrap();
        file.set_len(4 << 20).unwrap();
        let path = path.display().to_string();
        assert_eq!(content(&path).unwrap(), Content::Nothing);
        let mut bytes = vec![0; 4 << 20];
        bytes[5000] = 1;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(content(&path).unwrap(), Content::Other(_)));
        bytes[MAGIC_AT..MAGIC_AT + 8].copy_from_slice(b"!BHRfS_M");
        fs::write(&path, &bytes).unwrap();
        assert_eq!(content(&path).unwrap(), Content::Nothing);
        assert!(content("/nowhere").is_err());
    }
}

//! What root did before: by path. The control runs use it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Puts back what a prune had set aside inside the registry's data.
pub fn put_all_back(data: &Path) -> io::Result<()> {
    let aside = data.join(".lap-prune");
    for entry in fs::read_dir(aside.join("blobs"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let place = data.join("docker/registry/v2/blobs/sha256").join(name.get(..2).unwrap_or_default()).join(&name);
        fs::create_dir_all(place.parent().unwrap())?;
        fs::rename(path, place)?;
    }
    fs::remove_dir_all(aside)
}

/// Looks for repositories; gives how many directories it saw before it had enough.
pub fn walk(data: &Path, enough: usize) -> usize {
    let (mut left, mut seen) = (vec![data.join("docker/registry/v2/repositories")], 0);
    while let Some(dir) = left.pop() {
        seen += 1;
        if seen >= enough {
            break;
        }
        left.extend(fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|path| path.is_dir()));
    }
    seen
}

/// Puts a part of the data in place: checks its directory, then exchanges by path. `meanwhile` is what a container does in between.
pub fn put(data: &Path, path: &str, copy: &Path, meanwhile: impl FnOnce()) -> io::Result<bool> {
    let above = Path::new(path).ancestors().skip(1);
    let is_reached = |dir: &Path| fs::symlink_metadata(data.join(dir)).is_ok_and(|meta| meta.is_dir());
    if !above.into_iter().all(is_reached) {
        return Ok(false);
    }
    meanwhile();
    fs::rename(copy, data.join(path))?;
    Ok(true)
}

/// Every file below `root`: each directory is looked at before it is read.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let (mut out, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => left.push(path),
                Ok(meta) if meta.is_file() => out.push(path),
                _ => {}
            }
        }
    }
    out
}

//! Tar archives in memory, for example the files for a node or the seed of a virtual machine.

use crate::error::{Kind, OrError, Result};

/// Packs `files` into a tar archive and returns its bytes. Each file is a path, a mode and the content.
///
/// # Errors
/// A path is too long for the tar format.
pub fn pack<'a>(files: impl IntoIterator<Item = (&'a str, u32, &'a [u8])>) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, path, bytes).or_error(Kind::Other, || format!("cannot pack `{path}`"))?;
    }
    tar.into_inner().or_error(Kind::Other, || "cannot pack".into())
}

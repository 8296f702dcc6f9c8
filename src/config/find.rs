//! From any directory to the workspace around it, as git does.

use std::path::{Path, PathBuf};

use lap_base::error::{Error, Kind, OrError, Result};

/// The nearest directory at or above `start` that holds a `lap.toml`, absolute and without symbolic links.
pub fn find(start: &Path) -> Result<PathBuf> {
    let start = start.canonicalize().or_error(Kind::Config, || format!("cannot open `{}`", start.display()))?;
    let root = start.ancestors().find(|dir| dir.join("lap.toml").exists());
    root.map(Path::to_path_buf).ok_or_else(|| {
        Error::new(Kind::Config, format!("no `lap.toml` in `{}` or any directory above", start.display()))
            .hint("`lap init DIR` makes a new workspace")
    })
}

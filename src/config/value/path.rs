//! Absolute paths on a node and in a container.

use std::path::PathBuf;

use crate::config::problem::shown;

/// An absolute path without `.` and `..`, without doubled or trailing slashes.
pub fn absolute(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') {
        return Err(format!("{} is not an absolute path: write e.g. `/srv/files`", shown(text)));
    }
    if text.contains(',') {
        // Docker's `--mount` takes no such path.
        return Err(format!("{} contains a comma: write a path without one", shown(text)));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{} contains a control character: write a path without one", shown(text)));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(format!("{} contains `.` or `..`: write the resolved path", shown(text)));
    }
    Ok(PathBuf::from(format!("/{}", parts.join("/"))))
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn paths() {
        assert_eq!(absolute("//srv/x/").unwrap(), PathBuf::from("/srv/x"));
        assert_eq!(absolute("/").unwrap(), PathBuf::from("/"));
        messages(
            absolute,
            &[
                ("srv", "`srv` is not an absolute path: write e.g. `/srv/files`"),
                ("/a/./b", "`/a/./b` contains `.` or `..`: write the resolved path"),
                ("/a,b", "`/a,b` contains a comma: write a path without one"),
                ("/a\nb", "`/a\\nb` contains a control character: write a path without one"),
            ],
        );
    }
}

//! Bind mounts in Compose's short syntax, and memory file systems.

use std::path::{Path, PathBuf};

use super::path::absolute;
use crate::{
    binds,
    config::{model::Volume, problem::shown},
};

/// What lap itself mounts into every container.
const OWN: [&str; 3] = ["/data", "/env", "/run/secrets"];

/// `SOURCE:TARGET[:ro]`
pub fn volume(text: &str) -> Result<Volume, String> {
    let mut parts = text.split(':');
    let (source, target) = match (parts.next(), parts.next()) {
        (Some(source), Some(target)) if !source.is_empty() && !target.is_empty() => (source, target),
        _ => return Err(format!("{} is not a volume: write SOURCE:TARGET, e.g. `/srv/files:/files:ro`", shown(text))),
    };
    let read_only = match (parts.next(), parts.next()) {
        (None | Some("rw"), None) => false,
        (Some("ro"), None) => true,
        _ => return Err(format!("{} ends in an unknown option: write `:ro`, or nothing", shown(text))),
    };
    if !source.starts_with(['/', '.', '~']) {
        return Err(format!(
            "{} is a named volume: lap mounts `/data` for persistent data; write a host path for other volumes",
            shown(source)
        ));
    }
    let source = absolute(source)?;
    if binds::is_too_long(&source) {
        return Err(format!("{} is too long for a path in the data of a container", shown(&source.to_string_lossy())));
    }
    Ok(Volume { source, target: self::target(target)?, read_only })
}

/// `/run[:size=64m]`
pub fn tmpfs(text: &str) -> Result<String, String> {
    let (path, options) = text.split_once(':').map_or((text, None), |(path, options)| (path, Some(options)));
    let path = target(path)?.display().to_string();
    Ok(options.map_or_else(|| path.clone(), |options| format!("{path}:{options}")))
}

fn target(text: &str) -> Result<PathBuf, String> {
    let path = absolute(text)?;
    if path == Path::new("/") {
        return Err("`/` would hide the whole image: write a directory in it, e.g. `/files`".to_owned());
    }
    if OWN.iter().any(|own| path == Path::new(own)) {
        return Err(format!("{} is mounted by lap itself: write another target", shown(text)));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn volumes() {
        let want = Volume { source: "/srv/x".into(), target: "/x".into(), read_only: true };
        assert_eq!(volume("/srv//x/:/x:ro").unwrap(), want);
        assert!(!volume("/srv/x:/x:rw").unwrap().read_only);
        messages(
            volume,
            &[
                ("/srv", "`/srv` is not a volume: write SOURCE:TARGET, e.g. `/srv/files:/files:ro`"),
                ("/a:/b:z", "`/a:/b:z` ends in an unknown option: write `:ro`, or nothing"),
                ("/a:/b:ro:x", "`/a:/b:ro:x` ends in an unknown option: write `:ro`, or nothing"),
                ("./a:/b", "`./a` is not an absolute path: write e.g. `/srv/files`"),
                ("/data/x/../y:/b", "`/data/x/../y` contains `.` or `..`: write the resolved path"),
                ("/a:b", "`b` is not an absolute path: write e.g. `/srv/files`"),
                ("/a:/", "`/` would hide the whole image: write a directory in it, e.g. `/files`"),
                ("/a:/data/", "`/data/` is mounted by lap itself: write another target"),
                ("/a,b:/c", "`/a,b` contains a comma: write a path without one"),
                (
                    "cache:/b",
                    "`cache` is a named volume: lap mounts `/data` for persistent data; write a host path for other volumes",
                ),
            ],
        );
        assert_eq!(tmpfs("/run:size=64m").unwrap(), "/run:size=64m");
        messages(tmpfs, &[("run", "`run` is not an absolute path: write e.g. `/srv/files`")]);
    }
}

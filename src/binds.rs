//! Where Docker finds a source of a bind mount that lies in the data of a container.
//!
//! A container decides what the paths in its data are, and Docker follows links. So the agent opens such a source without following any,
//! and mounts what it opened at a place of lap's own; Docker gets that place (`agent::binds`). Here are only the names:
//!
//! ```text
//! /data/web/files/public                              the source
//! /var/lib/lap/binds/web%2Ffiles%2Fpublic/at          the place
//! ```

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

/// The directory of all places on a node.
pub const DIRECTORY: &str = "/var/lib/lap/binds";
/// The mount point in a place. It is there only as long as the source can be mounted.
pub const AT: &str = "at";
/// No file has a longer name.
const LONGEST: usize = 255;
/// What the data of all containers is called on a node.
const DATA: [&str; 2] = ["/data", "/var/lib/lap/pool/data"];

/// The path below `/data` of a source that is only a part of a container's data; `None`: Docker gets the source itself. The directory of a
/// container's data is lap's own: no container changes it.
pub fn below_data(source: &Path) -> Option<&Path> {
    let below = DATA.iter().find_map(|data| source.strip_prefix(data).ok())?;
    (below.components().count() > 1).then_some(below)
}

/// The path that Docker gets for `source`.
pub fn of(source: &Path) -> PathBuf {
    below_data(source).map_or_else(|| source.to_owned(), |below| place(&name(below)))
}

/// Whether the name of the place would be too long.
pub fn is_too_long(source: &Path) -> bool {
    below_data(source).is_some_and(|below| name(below).len() > LONGEST)
}

/// The mount point of this name.
pub fn place(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name).join(AT)
}

/// The name of the place for a path below `/data`.
pub fn name(below: &Path) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let one = |byte: &u8| if keep(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    below.as_os_str().as_bytes().iter().map(one).collect()
}

/// The path below `/data` of the place with this name; `None`: lap gives no such name.
pub fn path(name: &str) -> Option<PathBuf> {
    let (mut bytes, mut rest) = (Vec::new(), name.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    let below = PathBuf::from(OsString::from_vec(bytes));
    let is_normal = below.components().all(|part| matches!(part, Component::Normal(_)));
    // Each source has one name: no slash at the end, none twice.
    let is_plain = below.components().collect::<PathBuf>().as_os_str() == below.as_os_str();
    (is_normal && is_plain && below.components().count() > 1 && self::name(&below) == name).then_some(below)
}

/// The path below `/data` of what Docker has mounted from a place.
pub fn mounted(source: &Path) -> Option<PathBuf> {
    let mut parts = source.strip_prefix(DIRECTORY).ok()?.components();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Component::Normal(name)), Some(Component::Normal(at)), None) if at == AT => path(name.to_str()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_its_source() {
        for (source, place) in [
            ("/data/web/files", "/var/lib/lap/binds/web%2Ffiles/at"),
            ("/data/web/a b/ü%2F", "/var/lib/lap/binds/web%2Fa%20b%2F%C3%BC%252F/at"),
            ("/var/lib/lap/pool/data/web/files", "/var/lib/lap/binds/web%2Ffiles/at"),
        ] {
            assert_eq!(of(Path::new(source)), Path::new(place), "{source}");
            assert_eq!(mounted(Path::new(place)).as_deref(), below_data(Path::new(source)), "{source}");
        }
        for source in ["/data", "/data/web", "/srv/files", "/database/x/y", "/env/site"] {
            assert_eq!(of(Path::new(source)), Path::new(source));
        }
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for bad in ["", "web", "..", "web%2F..", "%2Fetc%2Fpasswd", "web%2f..%2f..", "web%2", "web%2Fa%2F", "web%zz"] {
            assert_eq!(path(bad), None, "{bad}");
        }
        assert_eq!(mounted(Path::new("/var/lib/lap/binds/web%2Ffiles")), None);
        assert!(is_too_long(Path::new(&format!("/data/web/{}", "x".repeat(250)))));
        assert!(!is_too_long(Path::new("/data/web/files")));
    }
}

//! Reads of state files. A read has three results: the file is absent, it has a value, or it is unreadable. An error of
//! the disk, a truncated file and a value of another type are not "absent": a command that would change something must
//! refuse to continue.
//!
//! All reads of state use this module. A test in `tests/it/repository.rs` checks this.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Kind, Result};

/// The result of a read of a state file.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State<T> {
    /// The directory exists and does not contain the file.
    #[default]
    Absent,
    /// The file exists and has this value.
    Value(T),
    /// The file cannot be read, or its content is wrong.
    Unreadable(Unreadable),
}

/// A state file whose content is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The path of the file.
    pub path: PathBuf,
    /// The cause, as the second half of a sentence.
    pub reason: String,
    /// The steps that repair it, one sentence each.
    #[serde(default)]
    pub hints: Vec<String>,
    /// The file does not exist, but other files show that it once existed.
    #[serde(default)]
    pub is_gone: bool,
}

impl Unreadable {
    /// Returns an unreadable state without hints. `reason` is the second half of "cannot read `path`: …".
    pub fn new(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into(), hints: Vec::new(), is_gone: false }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns the sentence that an error shows.
    pub fn sentence(&self) -> String {
        format!("cannot read `{}`: {}", self.path.display(), self.reason)
    }
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        let message = unreadable.sentence();
        Self { kind: Kind::Refused, message, hints: unreadable.hints }
    }
}

impl<T> State<T> {
    /// Returns the value, or `None` if the file is absent.
    ///
    /// # Errors
    /// The file is unreadable. The caller must not continue as if it were absent.
    pub fn value_or_refuse(self) -> Result<Option<T>> {
        match self {
            Self::Absent => Ok(None),
            Self::Value(value) => Ok(Some(value)),
            Self::Unreadable(unreadable) => Err(unreadable.into()),
        }
    }

    /// Returns the value, if there is one, and the cause if the file is unreadable. Use it in commands that only show
    /// state. They must show both.
    pub fn value_and_complaint(self) -> (Option<T>, Option<Unreadable>) {
        match self {
            Self::Absent => (None, None),
            Self::Value(value) => (Some(value), None),
            Self::Unreadable(unreadable) => (None, Some(unreadable)),
        }
    }

    /// Returns the cause if the file is unreadable.
    pub fn unreadable(&self) -> Option<&Unreadable> {
        match self {
            Self::Unreadable(unreadable) => Some(unreadable),
            _ => None,
        }
    }

    /// Returns whether the file is absent.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Returns the same state with a reference to the value.
    pub fn as_ref(&self) -> State<&T> {
        match self {
            Self::Absent => State::Absent,
            Self::Value(value) => State::Value(value),
            Self::Unreadable(unreadable) => State::Unreadable(unreadable.clone()),
        }
    }

    /// Applies `change` to the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> State<U> {
        match self {
            Self::Absent => State::Absent,
            Self::Value(value) => State::Value(change(value)),
            Self::Unreadable(unreadable) => State::Unreadable(unreadable),
        }
    }

    /// Adds a hint if the file is unreadable.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Unreadable(unreadable) => Self::Unreadable(unreadable.hint(hint)),
            other => other,
        }
    }
}

/// Reads a regular file. A symbolic link is unreadable, because lap does not write links.
pub fn bytes(path: &Path) -> State<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return absent(path),
        Err(error) if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) => {
            return State::Unreadable(Unreadable::new(path, format!("it is a symbolic link ({error})")));
        }
        Err(error) => return State::Unreadable(Unreadable::new(path, error.to_string())),
    };
    let mut bytes = Vec::new();
    let read = match file.metadata() {
        Ok(meta) if !meta.is_file() => Err("it is not a file".to_owned()),
        Ok(_) => file.read_to_end(&mut bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match read {
        Ok(_) => State::Value(bytes),
        Err(reason) => State::Unreadable(Unreadable::new(path, reason)),
    }
}

/// Reads a JSON file.
pub fn json<T: DeserializeOwned>(path: &Path) -> State<T> {
    match bytes(path) {
        State::Absent => State::Absent,
        State::Unreadable(unreadable) => State::Unreadable(unreadable),
        State::Value(bytes) => match parse(&bytes) {
            Ok(value) => State::Value(value),
            Err(reason) => State::Unreadable(Unreadable::new(path, reason)),
        },
    }
}

/// Reads the JSON file `name` in a directory that is created together with its first file. If the directory does not
/// exist, the file is absent.
pub fn json_in<T: DeserializeOwned>(directory: &Path, name: &str) -> State<T> {
    match is_absent(directory) {
        true => State::Absent,
        false => json(&directory.join(name)),
    }
}

/// Returns whether `path` does not exist. A path that cannot be examined is not absent.
pub fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Reads a file that contains one word, and converts the word with `parse`.
pub fn word<T: std::str::FromStr>(path: &Path) -> State<T> {
    match bytes(path) {
        State::Absent => State::Absent,
        State::Unreadable(unreadable) => State::Unreadable(unreadable),
        State::Value(bytes) => match std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok()) {
            Some(value) => State::Value(value),
            None => State::Unreadable(Unreadable::new(path, "its content is not what `lap` writes")),
        },
    }
}

/// Parses a JSON value.
///
/// # Errors
/// The cause, as the second half of a sentence.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    use serde_json::error::Category;
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Eof => format!("it is truncated ({error})"),
        Category::Syntax => format!("it is not JSON ({error})"),
        Category::Data | Category::Io => format!("its content is not what `lap` writes ({error})"),
    })
}

/// Returns the names in a directory, sorted.
pub fn names(path: &Path) -> State<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return absent(path),
        Err(error) => return State::Unreadable(Unreadable::new(path, error.to_string())),
    };
    let name = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    match entries.map(name).collect::<std::io::Result<Vec<String>>>() {
        Ok(mut names) => {
            names.sort();
            State::Value(names)
        }
        Err(error) => State::Unreadable(Unreadable::new(path, error.to_string())),
    }
}

/// Returns the state of a file that open(2) did not find. It is absent only if its directory exists.
fn absent<T>(path: &Path) -> State<T> {
    if !is_absent(path) {
        return State::Unreadable(Unreadable::new(path, "its target does not exist"));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(parent) {
        Ok(meta) if meta.is_dir() => State::Absent,
        Ok(_) => State::Unreadable(Unreadable::new(path, format!("`{}` is not a directory", parent.display()))),
        Err(error) => State::Unreadable(Unreadable::new(path, format!("`{}`: {error}", parent.display()))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Number {
        release: u64,
    }

    /// Returns the reason why the file is unreadable.
    #[track_caller]
    fn reason(path: &Path) -> String {
        match json::<Number>(path) {
            State::Unreadable(unreadable) => {
                assert_eq!(unreadable.path, path);
                unreadable.reason
            }
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    #[test]
    fn a_file_is_absent_only_if_its_directory_exists() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("current.json");
        assert_eq!(json::<Number>(&path), State::Absent);
        fs::write(&path, r#"{"release": 5}"#).unwrap();
        assert_eq!(json(&path), State::Value(Number { release: 5 }));
        assert!(reason(&dir.path().join("gone/current.json")).contains("No such file"));
        assert!(reason(&path.join("x")).contains("Not a directory"), "{}", reason(&path.join("x")));
    }

    #[test]
    fn an_unreadable_file_gives_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("current.json");
        for (text, why) in [
            ("", "it is empty"),
            (r#"{"release": "#, "it is truncated"),
            (r#"{"release" 5}"#, "it is not JSON"),
            ("\0\0\0\0", "it is not JSON"),
            (r#"{"release": "5"}"#, "expected u64"),
            (r"{}", "missing field `release`"),
            ("null", "its content is not what `lap` writes"),
        ] {
            fs::write(&path, text).unwrap();
            assert!(reason(&path).contains(why), "{text}: {}", reason(&path));
        }
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(reason(&path).contains("symbolic link"), "{}", reason(&path));
        fs::remove_file(&path).unwrap();
        symlink("nothing", &path).unwrap();
        assert!(reason(&path).contains("symbolic link"), "{}", reason(&path));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(reason(&path), "it is not a file");
        fs::remove_dir(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(reason(&path), "it is not a file", "a reader does not wait for a writer");
    }

    #[test]
    fn an_unreadable_file_is_an_error_for_a_command_that_changes_something() {
        assert_eq!(State::<u8>::Absent.value_or_refuse().unwrap(), None);
        assert_eq!(State::Value(5).value_or_refuse().unwrap(), Some(5));
        let unreadable = State::<u8>::Unreadable(Unreadable::new("/x/fence", "it is empty").hint("do this"));
        let error = unreadable.value_or_refuse().unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (Kind::Refused, "cannot read `/x/fence`: it is empty"));
        assert_eq!(error.hints, ["do this"]);
    }

    #[test]
    fn files_of_one_word_and_directories_have_three_states() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fence");
        assert_eq!(word::<u64>(&path), State::Absent);
        fs::write(&path, "1024\n").unwrap();
        assert_eq!(word(&path), State::Value(1024_u64));
        for text in ["", "x", "-1", "\u{fffd}"] {
            fs::write(&path, text).unwrap();
            assert!(word::<u64>(&path).unreadable().is_some(), "{text:?}");
        }
        fs::write(dir.path().join("a"), "").unwrap();
        assert_eq!(names(dir.path()), State::Value(vec!["a".to_owned(), "fence".to_owned()]));
        assert_eq!(names(&dir.path().join("releases")), State::Absent);
        assert!(names(&path).unreadable().is_some(), "a file is no directory");
        assert!(names(&dir.path().join("gone/releases")).unreadable().is_some());
        assert_eq!(json_in::<Number>(&dir.path().join("gone/policy"), "snapshot.json"), State::Absent);
        assert!(json_in::<Number>(&path, "snapshot.json").unreadable().is_some());
        assert!(is_absent(&dir.path().join("gone/policy")) && !is_absent(&path));
    }

    #[test]
    fn a_state_survives_serialization() {
        for state in [State::Absent, State::Value(5), State::Unreadable(Unreadable::new("/x", "it is empty"))] {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State<u8>>(&text).unwrap(), state);
        }
    }
}

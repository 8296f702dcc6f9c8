//! What is wrong with a workspace: all of it at once, each with its place.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt::{self, Write},
    rc::Rc,
};

use lap_base::{
    error::{Error, Kind},
    words::plain,
};
use serde::Serialize;

use super::{file::SourceFile, lines};
pub use lap_base::words::shown;

/// One thing that is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file (or directory), relative to the workspace.
    pub file: String,
    /// From 1; `None` where there is no such line, e.g. when the whole file is missing.
    pub line: Option<usize>,
    /// The key's path in the file, e.g. `ports[0]`; empty where no key is concerned.
    pub key: String,
    /// "what is wrong: what would be right".
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.file.clone();
        if let Some(line) = self.line {
            write!(text, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(text, ": {}", self.key)?;
        }
        write!(text, ": {}", self.message)?;
        // A directory's name may hold what moves a terminal's cursor.
        f.write_str(&plain(&text))
    }
}

/// Everything that is wrong with a workspace, sorted by file and line; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        let count = match problems.0.len() {
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        Error::new(Kind::Config, format!("the workspace has {count}:\n{problems}")).hint(
            "`lap help lap.toml` (or `node.toml`, `container.toml`, `env.toml`, `rootfs.toml`) explains every key",
        )
    }
}

/// Where a problem's line is taken from.
enum TextPosition {
    /// The line of the problem's key, found when all is said.
    Key(Rc<SourceFile>),
    Line(usize),
    None,
}

/// Collects problems while a workspace is read.
///
/// Checks name a file and a key; lines are looked up at the end, and only for files that have problems. So the values
/// that are passed around carry no positions.
#[derive(Default)]
pub struct Ledger {
    found: RefCell<Vec<(TextPosition, Problem)>>,
}

impl Ledger {
    /// `key` of `file` is wrong.
    pub fn key(&self, file: &Rc<SourceFile>, key: impl Into<String>, message: impl Into<String>) {
        let problem = Problem { file: file.path.clone(), line: None, key: key.into(), message: message.into() };
        self.found.borrow_mut().push((TextPosition::Key(file.clone()), problem));
    }

    /// The file at `path` is wrong in `line`.
    pub fn line(&self, path: &str, line: usize, key: impl Into<String>, message: impl Into<String>) {
        let problem = Problem { file: path.to_owned(), line: None, key: key.into(), message: message.into() };
        self.found.borrow_mut().push((TextPosition::Line(line), problem));
    }

    /// Something is wrong with `path` as a whole.
    pub fn path(&self, path: &str, message: impl Into<String>) {
        let problem = Problem { file: path.to_owned(), line: None, key: String::new(), message: message.into() };
        self.found.borrow_mut().push((TextPosition::None, problem));
    }

    /// All that was found, sorted; `None` when all is right.
    pub fn finish(self) -> Option<Problems> {
        let mut maps: HashMap<String, HashMap<String, usize>> = HashMap::new();
        let mut problems: Vec<Problem> = Vec::new();
        for (place, mut problem) in self.found.into_inner() {
            problem.line = match place {
                TextPosition::None => None,
                TextPosition::Line(line) => Some(line),
                TextPosition::Key(file) => {
                    let map = maps.entry(file.path.clone()).or_insert_with(|| lines::of_keys(&file.text));
                    Some(lines::nearest(map, &problem.key))
                }
            };
            problems.push(problem);
        }
        problems.sort();
        problems.dedup();
        if problems.is_empty() { None } else { Some(Problems(problems)) }
    }
}

/// "; did you mean `x`?" where one of `known` is near enough to `word`, otherwise nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    guess(word, known).map(|guess| format!("; {guess}")).unwrap_or_default()
}

/// "did you mean `x`?" where one of `known` is near enough to `word`.
pub fn guess<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Edit distance is quadratic: nobody mistypes a word of a thousand letters.
    if word.len() > 100 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5 && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

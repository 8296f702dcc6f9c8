//! Checks that the names in a repository's directories are plain file names. This module is pure: it gets one entry
//! after the other, each directory before its content.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use lap_base::error::{Error, Kind, Result};
use rustic_core::{TreeId, repofile::Node};

/// The maximum depth. A deeper path is longer than Linux permits, so no copy contains one.
const MAX_DEPTH: usize = 2048;
/// The maximum number of entries. No real snapshot has as many, but directories that refer to each other could make a
/// few kilobytes look like more.
const MAX_ENTRIES: u64 = 200_000_000;
/// The maximum length of a path in messages, in characters.
const MAX_SHOWN: usize = 200;

/// The state of the check: the entries seen so far.
pub struct TreeNames<'a> {
    repository: &'a str,
    /// The open directories. The innermost is the last one.
    open: Vec<Directory>,
    entries: u64,
}

struct Directory {
    tree: Option<TreeId>,
    names: HashSet<OsString>,
}

impl Directory {
    fn new(tree: Option<TreeId>) -> Self {
        Self { tree, names: HashSet::new() }
    }
}

impl<'a> TreeNames<'a> {
    /// Starts a check of the directory `tree` of a repository.
    pub fn new(repository: &'a str, tree: Option<TreeId>) -> Self {
        Self { repository, open: vec![Directory::new(tree)], entries: 0 }
    }

    /// Checks the next entry.
    ///
    /// # Errors
    /// The name is not a plain file name, another entry of the directory has the same name, or the entry is in no
    /// directory or inside itself.
    pub fn check(&mut self, path: &Path, node: &Node) -> Result<()> {
        let name = node.name();
        let wrong = |why| Err(forged(self.repository, path, why));
        if !is_one(&name) {
            return wrong("which is not a plain file name");
        }
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return wrong("after more entries than any snapshot has");
        }
        // All names above were checked, so each part of the path is one of them.
        let depth = path.components().count();
        if depth == 0 || depth > self.open.len() {
            return wrong("which is outside any directory");
        }
        if depth > MAX_DEPTH {
            return wrong("which is deeper than a path may be");
        }
        self.open.truncate(depth);
        if node.is_dir() != node.subtree.is_some() {
            return wrong("which is a directory only in part");
        }
        if node.subtree.is_some() && self.open.iter().any(|directory| directory.tree == node.subtree) {
            return wrong("which is a directory inside itself");
        }
        if !self.open[depth - 1].names.insert(name.into_owned()) {
            return wrong("twice");
        }
        if node.is_dir() {
            self.open.push(Directory::new(node.subtree));
        }
        Ok(())
    }
}

/// Returns whether `name` is a plain file name, so that a path with it has one part.
fn is_one(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Returns the error for an entry that neither lap nor restic would write.
pub fn forged(repository: &str, path: &Path, why: &str) -> Error {
    let shown: String = path.to_string_lossy().chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    Error::new(Kind::Refused, format!("`{repository}` has an entry `{shown}`, {why}: nothing of it was restored"))
        .hint("neither lap nor restic writes such an entry: the repository was forged, or a third party has its key")
        .hint("`lap snapshot list --from REPOSITORY` shows older copies; lap checks each in the same way")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rustic_core::repofile::NodeType;

    use super::*;

    fn node(name: &str, kind: NodeType, subtree: Option<TreeId>) -> Node {
        Node { name: name.to_owned(), node_type: kind, subtree, ..Node::default() }
    }

    fn tree(number: u8) -> Option<TreeId> {
        Some(hex::encode([number; 32]).parse().unwrap())
    }

    fn said(entries: &[(&str, Node)]) -> Option<String> {
        let mut names = TreeNames::new("office", tree(0));
        entries.iter().find_map(|(path, node)| names.check(&PathBuf::from(path), node).err()).map(|error| error.message)
    }

    #[test]
    fn only_plain_file_names_are_accepted() {
        for fine in ["a", "...", "a b", "-", "\u{e4}", "\\xff\\n", "\\\\"] {
            assert!(is_one(&node(fine, NodeType::File, None).name()), "{fine}");
        }
        for wrong in ["", ".", "..", "/", "/etc", "a/", "a/b", "\\x2f", "\\x2e\\x2e", "a\\x00"] {
            assert!(!is_one(&node(wrong, NodeType::File, None).name()), "{wrong}");
        }
    }

    #[test]
    fn a_forged_tree_is_refused() {
        let (file, dir) = (|| node("a", NodeType::File, None), |number| node("a", NodeType::Dir, tree(number)));
        let b = || node("b", NodeType::File, None);
        assert_eq!(said(&[("a", dir(1)), ("a/a", dir(2)), ("a/a/a", file()), ("a/b", b()), ("b", b())]), None);
        let twice = said(&[("a", dir(1)), ("a/b", b()), ("a", file())]).unwrap();
        assert!(twice.starts_with("`office` has an entry `a`, twice"), "{twice}");
        let itself = said(&[("a", dir(1)), ("a/a", dir(2)), ("a/a/a", dir(1))]).unwrap();
        assert!(itself.contains("`a/a/a`, which is a directory inside itself"), "{itself}");
        assert!(said(&[("a", dir(0))]).is_some(), "the top directory counts too");
        let link = NodeType::Symlink { linktarget: "/etc".into(), linktarget_raw: None };
        assert!(said(&[("a", node("a", link, tree(1)))]).unwrap().contains("only in part"));
        assert!(said(&[("a", node("a", NodeType::Dir, None))]).unwrap().contains("only in part"));
        assert!(said(&[("a/b", b())]).unwrap().contains("outside any directory"));
    }

    #[test]
    fn the_error_about_a_forged_entry_is_one_short_line() {
        let said = forged("office", Path::new(&format!("\u{1b}[2J\n{}", "x".repeat(9000))), "twice").message;
        assert!(
            said.contains("`\\u{1b}[2J\\nxxx") && said.len() < 400 && !said.chars().any(char::is_control),
            "{said}"
        );
    }
}

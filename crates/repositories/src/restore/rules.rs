//! Rules for the entries of a snapshot: which are restored, which are left out, and which show that the repository was
//! forged. This module is pure.

use std::path::Path;

use rustic_core::repofile::{Node, NodeType};

use super::job::RestoreKind;

/// The rule for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Restore,
    /// The entry and everything below it is not restored.
    Leave,
    Refuse(&'static str),
}

/// Returns the rule for an entry.
pub fn of(what: RestoreKind, path: &Path, node: &Node) -> Rule {
    let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap_or("\u{fffd}")).collect();
    match what {
        RestoreKind::Snapshot => snapshot(&parts, node),
        RestoreKind::Workspace => workspace(&parts, node),
    }
}

/// The agent, which is root, reads `meta.json` and `state` itself, so these must be plain files and directories.
fn snapshot(parts: &[&str], node: &Node) -> Rule {
    let fine = match parts {
        ["data"] | ["state"] => node.is_dir(),
        ["meta.json"] => node.is_file(),
        ["nested"] => node.is_dir(),
        ["nested", n] => node.is_dir() && n.parse::<u32>().is_ok_and(|number| number.to_string() == *n),
        ["data", ..] | ["nested", ..] => true,
        ["state", ..] => node.is_dir() || node.is_file(),
        _ => false,
    };
    if fine { Rule::Restore } else { Rule::Refuse("which does not belong in a snapshot of lap") }
}

/// lap writes its keys and git's settings into the workspace, and git runs in it. Of git's own data, only the files
/// with commits are restored. Settings, hooks, and files that refer to other settings could run a program.
fn workspace(parts: &[&str], node: &Node) -> Rule {
    let known = matches!(node.node_type, NodeType::File | NodeType::Dir | NodeType::Symlink { .. });
    if !known || parts.contains(&".lap") {
        return Rule::Leave;
    }
    let Some(git) = parts.iter().position(|part| *part == ".git") else { return Rule::Restore };
    let fine = match &parts[git + 1..] {
        // A file `.git` would refer to another directory with settings.
        [] => node.is_dir(),
        ["objects", "info", rest @ ..] => node.is_dir() || !matches!(rest, ["alternates" | "http-alternates"]),
        ["objects" | "refs" | "logs" | "lfs", ..] => node.is_dir() || node.is_file(),
        ["info"] => node.is_dir(),
        ["info", "exclude" | "sparse-checkout"] => node.is_file(),
        ["HEAD" | "ORIG_HEAD" | "index" | "packed-refs" | "shallow"] => node.is_file(),
        _ => false,
    };
    if fine { Rule::Restore } else { Rule::Leave }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::job::RestoreKind;

    fn of_kind(what: RestoreKind, kind: char, path: &str) -> Rule {
        let node_type = match kind {
            'd' => NodeType::Dir,
            'l' => NodeType::Symlink { linktarget: "/etc".into(), linktarget_raw: None },
            'p' => NodeType::Fifo,
            _ => NodeType::File,
        };
        of(what, Path::new(path), &Node { node_type, ..Node::default() })
    }

    #[test]
    fn a_snapshot_contains_data_state_and_a_description() {
        for fine in ["d data", "l data/one/link", "p data/fifo", "f meta.json", "d state", "f state/dns/x"] {
            assert_eq!(
                of_kind(RestoreKind::Snapshot, fine.chars().next().unwrap(), &fine[2..]),
                Rule::Restore,
                "{fine}"
            );
        }
        for wrong in ["l data", "f data", "l meta.json", "d meta.json", "l state", "l state/dns", "p state/x", "f etc"]
        {
            let rule = of_kind(RestoreKind::Snapshot, wrong.chars().next().unwrap(), &wrong[2..]);
            assert!(matches!(rule, Rule::Refuse(_)), "{wrong}");
        }
    }

    #[test]
    fn no_program_of_a_restored_workspace_runs() {
        for fine in [
            "f lap.toml",
            "l env/test/link",
            "f scripts/config",
            "d .git",
            "f .git/HEAD",
            "f .git/index",
            "d .git/objects",
            "f .git/objects/ab/cdef",
            "f .git/objects/info/packs",
            "f .git/refs/heads/config",
            "f .git/logs/HEAD",
            "f .git/packed-refs",
            "d .git/info",
            "f .git/info/exclude",
            "f vendor/x/.git/HEAD",
        ] {
            assert_eq!(
                of_kind(RestoreKind::Workspace, fine.chars().next().unwrap(), &fine[2..]),
                Rule::Restore,
                "{fine}"
            );
        }
        for left in [
            "d .lap",
            "l .lap",
            "f .lap/keys/admin",
            "f x/.lap/y",
            "p fifo",
            "f .git",
            "l .git",
            "f .git/config",
            "f .git/config.worktree",
            "d .git/hooks",
            "f .git/hooks/post-checkout",
            "f .git/commondir",
            "f .git/gitdir",
            "f .git/info/attributes",
            "f .git/info/grafts",
            "l .git/objects",
            "l .git/refs/heads/x",
            "f .git/objects/info/alternates",
            "f .git/modules/x/config",
            "f .git/worktrees/x/gitdir",
            "l .git/HEAD",
            "f vendor/x/.git/config",
            "f vendor/x/.git",
        ] {
            assert_eq!(
                of_kind(RestoreKind::Workspace, left.chars().next().unwrap(), &left[2..]),
                Rule::Leave,
                "{left}"
            );
        }
    }
}

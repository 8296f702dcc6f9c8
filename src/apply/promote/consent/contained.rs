//! Whether the operator's clone contains a commit. That its objects are there says nothing: lap itself fetches objects to show them.

use std::net::IpAddr;

use git2::{Oid, Reference, Repository};

use super::commit::AGREED;

/// How the lab's own repositories are recognized in the address of a remote.
pub struct Own<'a> {
    /// The lab's zone, e.g. `internal`.
    pub zone: &'a str,
    /// Every address of a node.
    pub nodes: Vec<String>,
}

/// What of the clone contains it: `HEAD`, a local branch, a branch of a remote, or an earlier consent.
///
/// Two kinds of refs do not count, since `git fetch` brings them without a look: tags (git takes those of every remote), and the
/// branches of a remote that is an environment's own git, where root on that node decides what there is.
pub fn by(repository: &Repository, id: Oid, own: &Own<'_>) -> Option<String> {
    let head = repository.head().ok().and_then(|head| Some(("HEAD".to_owned(), tip(&head)?)));
    let refs = repository.references().ok().into_iter().flatten().flatten();
    let named = refs.filter_map(|reference| {
        let name = reference.name().ok()?.to_owned();
        counts(repository, &name, own).then(|| Some((name, tip(&reference)?))).flatten()
    });
    let contains = |tip: Oid| tip == id || repository.graph_descendant_of(tip, id).unwrap_or(false);
    head.into_iter().chain(named).find(|(_, tip)| contains(*tip)).map(|(name, _)| name)
}

fn tip(reference: &Reference<'_>) -> Option<Oid> {
    reference.peel_to_commit().ok().map(|commit| commit.id())
}

fn counts(repository: &Repository, name: &str, own: &Own<'_>) -> bool {
    if name.starts_with("refs/heads/") || name.starts_with(AGREED) {
        return true;
    }
    let Some(rest) = name.strip_prefix("refs/remotes/") else { return false };
    let Ok(remotes) = repository.remotes() else { return false };
    let remotes = remotes.iter().flatten().flatten();
    // A remote's name may contain slashes: the longest that fits is meant.
    let remote = remotes.filter(|remote| rest.strip_prefix(remote).is_some_and(|rest| rest.starts_with('/')));
    let Some(remote) = remote.max_by_key(|name| name.len()) else { return false };
    let Ok(remote) = repository.find_remote(remote) else { return false };
    remote.url().is_ok_and(|url| !is_own(url, own))
}

/// Whether this address leads to a node of the lab.
fn is_own(url: &str, own: &Own<'_>) -> bool {
    let Some(host) = host(url) else { return false };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let same = |node: &String| match (node.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        (Ok(node), Ok(host)) => node == host,
        _ => *node == host,
    };
    host == own.zone || host.ends_with(&format!(".{}", own.zone)) || own.nodes.iter().any(same)
}

/// The host of `ssh://user@host:port/path` or `user@host:path`; `None`: it is a path.
fn host(url: &str) -> Option<&str> {
    let authority = match url.split_once("://") {
        Some((_, rest)) => rest.split('/').next()?,
        None => url.split_once(':').map(|(host, _)| host).filter(|host| !host.contains('/'))?,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    }
    .filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_git_of_an_environment_is_recognized() {
        let own = Own { zone: "internal", nodes: vec!["192.168.0.10".into()] };
        for (url, is) in [
            ("ssh://git@192.168.0.10:2200/lap", true),
            ("ssh://git@git.test.internal/lap", true),
            ("git@Git.Internal.:lap", true),
            ("http://192.168.0.10/lap.git", true),
            ("ssh://git@[::1]:22/lap", false),
            ("ssh://git@192.168.0.1/lap", false),
            ("git@forge.example.org:team/lab.git", false),
            ("https://forge.example.org/internal/lab", false),
            ("https://notinternal/lab", false),
            ("/srv/git/lab.git", false),
            ("../lab", false),
            ("file:///srv/192.168.0.10", false),
        ] {
            assert_eq!(is_own(url, &own), is, "{url}");
        }
    }
}

//! Who may log in on the lab's nodes though the working tree's lap.toml does not name them. `lap up` closes one environment; until it was
//! called for each, the others admit an operator who was removed.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::join_all;
use lap_base::{
    archive::pack,
    error::{Error, Kind, Result},
    words::plain,
};
use russh::keys::PublicKey;
use sha2::{Digest, Sha256};

use super::{builder, install::FileList, master::Master, options::Options};
use crate::{
    drivers::{self, node::docker::HostFacts},
    keys::{self, Keys, ssh_fingerprint},
    release::desired_state::DesiredState,
    wire::protocol::{InstallTarget, NodeFacts, Request},
    workspace::Workspace,
};

/// How long a node of another environment may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A key that a node admits and lap.toml does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stranger {
    pub name: String,
    pub fingerprint: String,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", plain(&self.name), plain(&self.fingerprint))
    }
}

/// Whom a node, or an environment, admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doors {
    /// Nobody but those of lap.toml.
    Closed,
    Open(Vec<Stranger>),
    /// It does not say, and why.
    Unknown(String),
}

/// The keys of the working tree's lap.toml, and what a node's file with them is.
pub struct Allowed {
    keys: Vec<(String, PublicKey)>,
    hash: String,
}

impl Allowed {
    /// # Errors
    /// A key in lap.toml is none.
    pub fn of(workspace: &Workspace, keys: &Keys) -> Result<Self> {
        let (admin, operators) = (keys.admin().public(), &workspace.lab.operators);
        let file = keys::authorized_keys(admin, operators)?;
        Ok(Self { keys: keys::authorized(admin, operators)?, hash: hex::encode(Sha256::digest(file.as_bytes())) })
    }

    /// Compares with what a node admits.
    pub fn compare(&self, facts: &NodeFacts) -> Doors {
        if facts.installed.get("ssh/authorized_keys") == Some(&self.hash) {
            return Doors::Closed;
        }
        let Some(admits) = &facts.admits else {
            return Doors::Unknown("its agent does not report the admitted keys".into());
        };
        let known = |fingerprint: &str| self.keys.iter().any(|(_, key)| ssh_fingerprint(key) == fingerprint);
        let strangers = admits.iter().filter(|(_, fingerprint)| !known(fingerprint));
        let strangers: Vec<Stranger> = strangers
            .map(|(name, fingerprint)| Stranger { name: name.clone(), fingerprint: fingerprint.clone() })
            .collect();
        if strangers.is_empty() { Doors::Closed } else { Doors::Open(strangers) }
    }
}

/// Asks every environment but `without`, at the same time. Nodes that are not made admit nobody.
///
/// # Errors
/// This machine cannot be looked at, or the keys cannot be read.
pub async fn ask(workspace: &Workspace, without: &[&str]) -> Result<Vec<(String, Doors)>> {
    if workspace.lab.environments.keys().all(|name| without.contains(&name.as_str())) {
        return Ok(Vec::new());
    }
    let host = drivers::node::observe(&workspace.lab).await?.facts;
    ask_on(workspace, &host, without).await
}

/// The same, where this machine and the hypervisors were looked at already.
///
/// # Errors
/// The keys cannot be read.
pub async fn ask_on(workspace: &Workspace, host: &HostFacts, without: &[&str]) -> Result<Vec<(String, Doors)>> {
    let names = workspace.lab.environments.keys().filter(|name| !without.contains(&name.as_str()));
    let keys = workspace.keys()?;
    let allowed = Allowed::of(workspace, &keys)?;
    let (allowed, keys) = (&allowed, &keys);
    let each = names.map(|name| async move {
        let nodes = workspace.nodes(name).map(|node| of_node(workspace, keys, host, allowed, &node.name));
        (name.clone(), together(join_all(nodes).await))
    });
    Ok(join_all(each).await)
}

async fn of_node(workspace: &Workspace, keys: &Keys, host: &HostFacts, allowed: &Allowed, node: &String) -> Doors {
    let facts = async {
        host.vm.known([node])?;
        let Some(state) = host.nodes.get(node) else { return Ok(None) };
        if !state.running {
            return Err(Error::new(Kind::Node, format!("the node `{node}` does not run")));
        }
        let (_, addresses) = workspace.addresses(host)?;
        let Some(address) = addresses.get(node).copied() else { return Ok(None) };
        let session = workspace.connect(keys, node, address, PATIENCE).await?;
        session.agent().facts().await.map(Some)
    };
    match facts.await {
        Ok(Some(facts)) => allowed.compare(&facts),
        Ok(None) => Doors::Closed,
        Err(error) => Doors::Unknown(error.message.lines().next().unwrap_or_default().to_owned()),
    }
}

/// Of all nodes of an environment: one that is open is worse than one that does not say.
fn together(nodes: Vec<Doors>) -> Doors {
    let (mut open, mut unknown) = (Vec::new(), None);
    for doors in nodes {
        match doors {
            Doors::Closed => {}
            Doors::Open(strangers) => open.extend(strangers),
            Doors::Unknown(why) => {
                unknown.get_or_insert(why);
            }
        }
    }
    open.sort();
    open.dedup();
    match unknown {
        _ if !open.is_empty() => Doors::Open(open),
        Some(why) => Doors::Unknown(why),
        None => Doors::Closed,
    }
}

/// A sentence for each environment that admits a key lap.toml does not have; with `unknown`, for each that does not say, too.
pub fn sentences(asked: &[(String, Doors)], unknown: bool) -> Vec<String> {
    let sentence = |(environment, doors): &(String, Doors)| match doors {
        Doors::Open(strangers) => Some(still(environment, strangers)),
        Doors::Unknown(why) if unknown => {
            Some(format!("`{environment}` may still admit them: {}; run `lap up --all` to remove them", plain(why)))
        }
        Doors::Unknown(_) | Doors::Closed => None,
    };
    asked.iter().filter_map(sentence).collect()
}

/// `prod` still admits …
pub fn still(environment: &str, strangers: &[Stranger]) -> String {
    let list = strangers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = if strangers.len() == 1 { "a key that is" } else { "keys that are" };
    format!("`{environment}` still admits {list}, {what} not in lap.toml: run `lap up --all` to remove the access")
}

/// Sets who may log in on the nodes of an environment beside its master: a plan changes the master only.
///
/// # Errors
/// One does not answer, or somebody holds its lock.
pub async fn close_others(master: &Arc<Master>, options: &Options) -> Result<()> {
    let Ok(keys) = master.keys() else { return Ok(()) };
    let allowed = Allowed::of(&master.workspace, keys)?;
    let Some(node) = builder::connect(master).await? else { return Ok(()) };
    let facts = node.client.facts().await?;
    if facts.installed.get("ssh/authorized_keys") == Some(&allowed.hash) {
        return Ok(());
    }
    options.events.note(format!("  set who may log in on `{}`", node.name));
    let files: FileList = master.contents(&DesiredState::nothing()).files(&InstallTarget::Ssh, None)?;
    let tar = pack(files.iter().map(|(name, mode, bytes)| (name.as_str(), *mode, bytes.as_slice())))?;
    let held = node.lock(options).await?;
    let request = Request::Install { fence: held.fence, place: InstallTarget::Ssh, size: tar.len() as u64 };
    let installed = node.client.ask(&request, &tar).await.map(drop);
    let end = installed.as_ref().map(|_| ()).map_err(|error| error.message.clone());
    held.end(end).await.and(installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(name: &str) -> Stranger {
        Stranger { name: name.into(), fingerprint: format!("SHA256:{name}") }
    }

    #[test]
    fn one_open_node_opens_an_environment_and_silence_is_not_closed() {
        let (open, unknown) = (|name| Doors::Open(vec![stranger(name)]), || Doors::Unknown("it is off".into()));
        assert_eq!(together(vec![]), Doors::Closed);
        assert_eq!(together(vec![Doors::Closed, Doors::Closed]), Doors::Closed);
        assert_eq!(together(vec![Doors::Closed, unknown()]), unknown());
        assert_eq!(
            together(vec![unknown(), open("a"), open("b"), open("a")]),
            Doors::Open(vec![stranger("a"), stranger("b")])
        );
    }

    #[test]
    fn whom_a_node_admits_is_compared_by_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), "lab", "internal", &["prod".to_owned()]).unwrap().keys;
        let admin = keys.admin().public().clone();
        let (anna, _) = (ssh_fingerprint(&admin), ());
        let allowed = Allowed { keys: vec![("admin".into(), admin)], hash: "h".into() };
        let facts = |hash: &str, admits: Option<Vec<(&str, &str)>>| NodeFacts {
            installed: [("ssh/authorized_keys".to_owned(), hash.to_owned())].into(),
            admits: admits.map(|list| list.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect()),
            ..NodeFacts::default()
        };
        assert_eq!(allowed.compare(&facts("h", None)), Doors::Closed, "an agent of an older build");
        assert!(matches!(allowed.compare(&facts("other", None)), Doors::Unknown(_)));
        // Under another name it is the same key; fewer keys open nothing.
        assert_eq!(allowed.compare(&facts("other", Some(vec![("x", &anna)]))), Doors::Closed);
        assert_eq!(allowed.compare(&facts("other", Some(vec![]))), Doors::Closed);
        let open = allowed.compare(&facts("other", Some(vec![("admin", &anna), ("admin", "SHA256:admin")])));
        assert_eq!(open, Doors::Open(vec![stranger("admin")]));
    }

    #[test]
    fn sentences_name_the_person_the_environment_and_the_command() {
        let asked = [
            ("a".to_owned(), Doors::Closed),
            ("b".to_owned(), Doors::Open(vec![stranger("anna")])),
            ("c".to_owned(), Doors::Unknown("the node `c` does not run".into())),
        ];
        let b = "`b` still admits `anna` (SHA256:anna), a key that is not in lap.toml: run `lap up --all` to remove the access";
        assert_eq!(sentences(&asked, false), [b]);
        let c = "`c` may still admit them: the node `c` does not run; run `lap up --all` to remove them";
        assert_eq!(sentences(&asked, true), [b, c]);
    }
}

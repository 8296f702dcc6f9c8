//! What the verbs share: which server is meant, which key opens it, and how names are written.

use std::{net::SocketAddr, sync::Arc};

use hickory_server::proto::rr::Name;
use lap_base::error::{Error, Kind, OrError, Result};
use lap_nameserver::{names::Names, records};

use crate::{
    apply::install::{Contents, PushFacts},
    config::{
        model::Environment,
        value::name::{below, owner},
    },
    drivers,
    keys::dns::DnsKey,
    workspace::Workspace,
};

/// The DNS server of one environment.
pub struct DnsTarget {
    pub environment: Environment,
    pub server: SocketAddr,
    /// lap's own key for this environment.
    pub key: DnsKey,
    /// What the workspace says it answers.
    pub names: Names,
}

impl DnsTarget {
    /// The server of `environment`, whose node must run.
    pub async fn find(workspace: &Arc<Workspace>, environment: &Environment) -> Result<Self> {
        let keys = workspace.keys()?;
        let host = drivers::node::observe(&workspace.lab).await?.facts;
        if !host.nodes.get(&environment.master).is_some_and(|node| node.running) {
            return Err(Error::new(Kind::Node, format!("the node `{}` does not run", environment.master))
                .hint(format!("`lap up {}` starts it", environment.name)));
        }
        let (subnet, addresses) = workspace.addresses(&host)?;
        let address = addresses.get(&environment.master).copied();
        let address = address.ok_or_else(|| Error::new(Kind::Config, "the master has no address"))?;
        let zone = workspace.lab.dns.zone.clone();
        let seen = PushFacts::new(workspace, environment, addresses, subnet);
        let contents = Contents { workspace, keys: Some(&keys), environment, seen: &seen, runs: None };
        Ok(Self {
            environment: environment.clone(),
            server: (address, 53).into(),
            key: keys.dns_admin(&environment.name, &zone)?,
            names: contents.names(),
        })
    }

    /// Whether this name (with its final dot) is the workspace's.
    pub fn is_workspaces(&self, name: &str) -> bool {
        let names = &self.names;
        let mut all = names.hosts.iter().map(|row| &row.0).chain(names.records.iter().map(|row| &row.0));
        all.any(|own| own == name) || names.server == name || names.zone == name
    }
}

/// `[ENVIRONMENT] WORDS…`: the first word is the environment if one is called so and more follows.
pub fn split(workspace: &Workspace, words: &[String]) -> Result<(Environment, Vec<String>)> {
    match words {
        [first, rest @ ..] if !rest.is_empty() && workspace.lab.environments.contains_key(first) => {
            Ok((workspace.environment(Some(first))?.clone(), rest.to_vec()))
        }
        _ => Ok((workspace.environment(None)?.clone(), words.to_vec())),
    }
}

/// For who called a name like an environment.
pub fn called_like_an_environment(workspace: &Workspace, words: &[String], error: Error) -> Error {
    match words.first().filter(|word| workspace.lab.environments.contains_key(*word)) {
        Some(word) => error.hint(format!(
            "`{word}` is the name of an environment: write `{word}.{}` for the DNS name",
            workspace.lab.dns.zone
        )),
        None => error,
    }
}

/// A name as it is written, whole: `printer` is `printer.internal.`, and so is `printer.internal`. Names of reverse zones
/// are themselves.
pub fn complete(text: &str, zone: &str) -> Result<String> {
    let wrong = |why: String| Error::new(Kind::Usage, why);
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_suffix('.').unwrap_or(&lower);
    if ["in-addr.arpa", "ip6.arpa"].iter().any(|reverse| below(bare, reverse).is_some()) {
        return owner(bare, "arpa").map(|name| name + ".").map_err(wrong);
    }
    if bare == zone || below(bare, zone).is_some() || bare.len() < lower.len() {
        return owner(bare, zone).map(|name| name + ".").map_err(wrong);
    }
    owner(&format!("{bare}.{zone}"), zone).map(|name| name + ".").map_err(wrong)
}

/// A record's data from the words of a command line: texts get their quotes back, names are made whole.
pub fn data(rtype: &str, words: &[String], zone: &str) -> Result<hickory_server::proto::rr::RData> {
    let wrong = |why: String| Error::new(Kind::Usage, why);
    let rtype = records::record_type(rtype).map_err(wrong)?;
    if rtype == hickory_server::proto::rr::RecordType::TXT {
        let quoted = |word: &String| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
        return records::data(rtype, &words.iter().map(quoted).collect::<Vec<_>>().join(" ")).map_err(wrong);
    }
    // In one word or in several, as it is easier to write.
    let mut words: Vec<String> = words.iter().flat_map(|word| word.split(' ')).map(str::to_owned).collect();
    words.retain(|word| !word.is_empty());
    let host = records::name_at(rtype).and_then(|at| words.get_mut(at));
    if let Some(host) = host.filter(|host| !host.ends_with('.') && host.parse::<std::net::IpAddr>().is_err()) {
        *host = complete(host, zone)?;
    }
    records::data(rtype, &words.join(" ")).map_err(wrong)
}

/// A name that was found right, for a message.
pub fn name(text: &str) -> Result<Name> {
    Name::from_ascii(text).or_error(Kind::Usage, || format!("`{text}` is not a domain name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_whole() {
        for (text, want) in [
            ("printer", "printer.internal."),
            ("Printer.internal", "printer.internal."),
            ("printer.internal.", "printer.internal."),
            ("_ldap._tcp", "_ldap._tcp.internal."),
            ("*.apps", "*.apps.internal."),
            ("internal", "internal."),
            ("40.0.168.192.in-addr.arpa", "40.0.168.192.in-addr.arpa."),
        ] {
            assert_eq!(complete(text, "internal").unwrap(), want, "{text}");
        }
        for (text, want) in [
            ("www.example.com.", "`www.example.com` is not a name in the zone `internal`: write e.g. `www.internal`"),
            ("a b", "`a b.internal` is not a name: write e.g. `www.internal`"),
        ] {
            assert_eq!(complete(text, "internal").unwrap_err().message, want);
        }
    }

    #[test]
    fn data_of_a_command_line() {
        let shown = |rtype: &str, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            data(rtype, &words, "internal").map(|data| records::shown(&data)).map_err(|error| error.message)
        };
        assert_eq!(shown("txt", &["a \"b\"", "c;d"]).unwrap(), r#""a \"b\"" "c;d""#);
        assert_eq!(shown("cname", &["git"]).unwrap(), "git.internal.");
        assert_eq!(shown("SRV", &["0 0 389", "ldap.example.org."]).unwrap(), "0 0 389 ldap.example.org.");
        assert_eq!(shown("MX", &["10", "mail.internal"]).unwrap(), "10 mail.internal.");
        assert_eq!(
            shown("CNAME", &["10.0.0.1"]).unwrap_err(),
            "`10.0.0.1` is not the data of a CNAME record: write e.g. `git.internal.`"
        );
        assert!(shown("A", &[]).unwrap_err().contains("is not the data of a A record"));
    }
}

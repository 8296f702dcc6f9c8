//! Addresses of what runs: `[environment/]application[/service[/copy]]`. Every command that takes a container takes them here.
//!
//! Environments and applications share one namespace, so the first word decides what it is. A container is an application with one service,
//! which has the container's name, and one copy, `1`.

use lap_base::error::{Error, Kind, Result};

use crate::config::{
    model::{Environment, Lab},
    problem::guess,
    value::name::label,
};

/// How an address is written, for messages.
const FORM: &str = "[environment/]application[/service[/copy]]";

/// Which applications an address may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownApplications {
    /// Those of the workspace.
    Workspace,
    /// Also those that only the node knows, because the workspace no longer has them.
    Node,
}

/// What an address names; parts that it leaves out are `None`.
struct AppAddress<'a> {
    environment: Option<&'a Environment>,
    application: Option<String>,
}

/// The environment and the containers that these words name; no containers: all of the environment. The first word may be an environment
/// alone: the words after it are in that environment.
///
/// # Errors
/// [`Kind::Usage`]: a word is not an address, names what does not exist, or the words name two environments.
pub fn several<'a>(lab: &'a Lab, words: &[String], known: KnownApplications) -> Result<(&'a Environment, Vec<String>)> {
    let (mut named, mut containers): (Option<&Environment>, Vec<String>) = (None, Vec::new());
    // An environment that stands alone in front: the words after it are applications.
    let mut front = None;
    for (nth, word) in words.iter().enumerate() {
        let address = parse(lab, word, front, known)?;
        let Some(application) = address.application else {
            if nth == 0 {
                (front, named) = (address.environment, address.environment);
                continue;
            }
            return Err(Error::new(
                Kind::Usage,
                format!("`{word}` is an environment, and only the first word can be one"),
            )
            .hint("one command works in one environment"));
        };
        let environment = match address.environment {
            Some(environment) => environment,
            None => default(lab)?,
        };
        match named {
            Some(named) if named.name != environment.name => {
                let message = format!("`{}` is in `{}`, not in `{}`", word, environment.name, named.name);
                return Err(Error::new(Kind::Usage, message).hint("one command works in one environment"));
            }
            _ => named = Some(environment),
        }
        if !containers.contains(&application) {
            containers.push(application);
        }
    }
    let environment = match named {
        Some(environment) => environment,
        None => default(lab)?,
    };
    Ok((environment, containers))
}

/// The environment and the one container that these words name.
///
/// # Errors
/// As [`several`]; or the words name none, or several.
pub fn one<'a>(lab: &'a Lab, words: &[String]) -> Result<(&'a Environment, String)> {
    let (environment, mut containers) = several(lab, words, KnownApplications::Workspace)?;
    match (containers.pop(), containers.is_empty()) {
        (Some(container), true) => Ok((environment, container)),
        (None, _) => {
            let example = lab.containers.keys().next().map_or("git", String::as_str);
            Err(Error::new(Kind::Usage, format!("`{0}` is an environment: name a container in it", environment.name))
                .hint(format!("e.g. `{}/{example}`", environment.name)))
        }
        (Some(_), false) => Err(Error::new(Kind::Usage, format!("name one container, not `{}`", words.join("`, `")))),
    }
}

fn default(lab: &Lab) -> Result<&Environment> {
    let name = &lab.default_environment;
    lab.environments.get(name).ok_or_else(|| Error::new(Kind::Config, format!("there is no environment `{name}`")))
}

/// One address; `inside` is the environment that an earlier word named.
fn parse<'a>(
    lab: &'a Lab,
    text: &str,
    inside: Option<&'a Environment>,
    known: KnownApplications,
) -> Result<AppAddress<'a>> {
    let wrong = |message: String| Error::new(Kind::Usage, message);
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 4 || parts.iter().any(|part| part.is_empty()) {
        let shown = text.escape_debug();
        return Err(wrong(format!("`{shown}` is not an address: write `{FORM}`, e.g. `prod/git`")));
    }
    for part in &parts {
        label(part).map_err(wrong)?;
    }
    let (environment, rest) = match lab.environments.get(parts[0]) {
        // `prod git`, where a container of the first environment is meant.
        Some(environment) => (Some(environment), &parts[1..]),
        None => (inside, &parts[..]),
    };
    let [application, below @ ..] = rest else { return Ok(AppAddress { environment, application: None }) };
    if !lab.containers.contains_key(*application) && (known == KnownApplications::Workspace || environment.is_none()) {
        return Err(unknown(lab, application, environment.is_some()));
    }
    match below {
        [] => {}
        [service, ..] if service != application => {
            return Err(wrong(format!(
                "`{application}` has no service `{service}`: its one service is `{application}`"
            )));
        }
        [_] | [_, "1"] => {}
        [_, copy, ..] if copy.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(wrong(format!("`{application}` has no copy `{copy}`: its one copy is `1`")));
        }
        [_, copy, ..] => {
            return Err(wrong(format!(
                "`{copy}` is not the number of a copy: write e.g. `{application}/{application}/1`"
            )));
        }
    }
    Ok(AppAddress { environment, application: Some((*application).to_owned()) })
}

/// The error for a name that nothing has. `inside`: an environment was named, so it can only be a container.
fn unknown(lab: &Lab, name: &str, inside: bool) -> Error {
    let containers = || lab.containers.keys().map(String::as_str);
    let environments = || lab.environments.keys().map(String::as_str);
    let listed = |names: Vec<&str>| format!("`{}`", names.join("`, `"));
    let error = if inside {
        Error::new(
            Kind::Usage,
            format!("there is no container `{name}`: the containers are {}", listed(containers().collect())),
        )
    } else {
        let (outer, inner) = (listed(environments().collect()), listed(containers().collect()));
        let known = format!("the environments are {outer}, the containers {inner}");
        Error::new(Kind::Usage, format!("`{name}` is neither an environment nor a container: {known}"))
    };
    let meant = if inside { guess(name, containers()) } else { guess(name, environments().chain(containers())) };
    match (lab.nodes.get(name), meant) {
        (Some(node), _) => error.hint(format!("`{name}` is a node: name its environment, `{}`", node.environment)),
        (None, Some(meant)) => error.hint(meant),
        (None, None) => error,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// This repository: environments `test` (the default) and `prod`; among the containers are `git` and `dns`.
    fn lab() -> Lab {
        crate::config::load(Path::new(env!("CARGO_MANIFEST_DIR")), None).unwrap()
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn each_spelling_of_an_address() {
        let lab = lab();
        for (line, environment, containers) in [
            ("", "test", &[][..]),
            ("prod", "prod", &[]),
            ("git", "test", &["git"]),
            ("git dns", "test", &["git", "dns"]),
            ("prod git", "prod", &["git"]),
            ("prod git dns", "prod", &["git", "dns"]),
            ("prod/git", "prod", &["git"]),
            ("prod/git prod/dns", "prod", &["git", "dns"]),
            ("prod git prod/dns/dns/1", "prod", &["git", "dns"]),
            ("git/git", "test", &["git"]),
            ("git/git/1 test/dns", "test", &["git", "dns"]),
            ("prod/git/git/1", "prod", &["git"]),
            ("prod/git prod/git/git", "prod", &["git"]),
        ] {
            let (found, names) =
                several(&lab, &words(line), KnownApplications::Workspace).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert_eq!((found.name.as_str(), names), (environment, words(&containers.join(" "))), "{line}");
        }
        assert_eq!(
            one(&lab, &words("prod/git")).map(|(e, c)| (e.name.clone(), c)).unwrap(),
            ("prod".into(), "git".into())
        );
    }

    #[test]
    fn a_wrong_address_gets_one_sentence() {
        let lab = lab();
        for (line, message) in [
            (
                "prod//git",
                "`prod//git` is not an address: write `[environment/]application[/service[/copy]]`, e.g. `prod/git`",
            ),
            ("/", "`/` is not an address: write `[environment/]application[/service[/copy]]`, e.g. `prod/git`"),
            (
                "prod/git/git/1/x",
                "`prod/git/git/1/x` is not an address: write `[environment/]application[/service[/copy]]`, e.g. `prod/git`",
            ),
            ("prod/Git", "`Git` is not a name: write lower-case letters, digits and hyphens between them, e.g. `git`"),
            ("git/web", "`git` has no service `web`: its one service is `git`"),
            ("git/git/2", "`git` has no copy `2`: its one copy is `1`"),
            ("git/git/one", "`one` is not the number of a copy: write e.g. `git/git/1`"),
            ("git prod", "`prod` is an environment, and only the first word can be one"),
            ("prod/git test/dns", "`test/dns` is in `test`, not in `prod`"),
            ("prod/git dns", "`dns` is in `test`, not in `prod`"),
            ("prod/git prod/git dns", "`dns` is in `test`, not in `prod`"),
            ("prod test/git", "`test/git` is in `test`, not in `prod`"),
        ] {
            assert_eq!(
                several(&lab, &words(line), KnownApplications::Workspace).unwrap_err().message,
                message,
                "{line}"
            );
        }
        let error = several(&lab, &words("tset"), KnownApplications::Node).unwrap_err();
        assert!(error.message.starts_with(
            "`tset` is neither an environment nor a container: the environments are `prod`, `test`, the containers `"
        ));
        assert_eq!(error.hints, ["did you mean `test`?"]);
        let error = several(&lab, &words("prod/gti"), KnownApplications::Workspace).unwrap_err();
        assert!(error.message.starts_with("there is no container `gti`: the containers are `"), "{error}");
        let error = one(&lab, &words("prod")).unwrap_err();
        assert_eq!(error.message, "`prod` is an environment: name a container in it");
        assert_eq!(one(&lab, &words("git dns")).unwrap_err().message, "name one container, not `git`, `dns`");
    }

    #[test]
    fn a_container_that_only_the_node_knows_needs_its_environment() {
        let lab = lab();
        for line in ["test old", "test/old", "prod/old/old/1"] {
            assert_eq!(several(&lab, &words(line), KnownApplications::Node).unwrap().1, ["old"], "{line}");
            assert!(several(&lab, &words(line), KnownApplications::Workspace).is_err(), "{line}");
        }
        assert!(several(&lab, &words("old"), KnownApplications::Node).is_err());
    }
}

//! What running containers have mounted of the data: replaced beneath it, a container would go on seeing, and writing, what was
//! there before.

use std::{collections::HashMap, path::Path};

use bollard::{Docker, query_parameters::ListContainersOptionsBuilder};
use lap_base::error::{Error, Kind, OrError, Result};

use crate::{
    binds,
    wire::{labels::LABEL_CONTAINER, paths, protocol::RestorePart},
};

/// A mount of a container.
#[derive(Debug)]
pub struct Mounted {
    container: String,
    /// Below `/data`.
    path: String,
}

/// All mounts of running containers that lie below `/data`.
///
/// # Errors
/// Docker does not answer.
pub async fn of(docker: &Docker) -> Result<Vec<Mounted>> {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL_CONTAINER.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    let list = docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    let mut all = Vec::new();
    for fact in list {
        let Some(container) = fact.labels.unwrap_or_default().get(LABEL_CONTAINER).cloned() else { continue };
        let sources = fact.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.source);
        let below = sources.filter_map(|source| below(&source));
        all.extend(below.map(|path| Mounted { container: container.clone(), path }));
    }
    Ok(all)
}

fn below(source: &str) -> Option<String> {
    let data = Path::new(paths::POOL).join("data");
    let path = Path::new(source);
    if let Some(path) = binds::mounted(path) {
        return Some(path.to_string_lossy().into_owned());
    }
    let path = path.strip_prefix(paths::DATA).or_else(|_| path.strip_prefix(data)).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// Whether `part` can be replaced while those containers run that it does not stop.
///
/// # Errors
/// One of them has it, or something in it, mounted.
pub fn check(part: &RestorePart, mounts: &[Mounted]) -> Result<()> {
    let in_the_way = |mount: &&Mounted| match part {
        RestorePart::All | RestorePart::AllAndRelease => false,
        RestorePart::Path(path) => Path::new(&mount.path).starts_with(path),
        RestorePart::Containers(names) => {
            !names.contains(&mount.container) && names.iter().any(|name| Path::new(&mount.path).starts_with(name))
        }
    };
    let Some(Mounted { container, path }) = mounts.iter().find(in_the_way) else { return Ok(()) };
    let hint = match part {
        RestorePart::Containers(names) => {
            format!("`--only {},{container}` restores both, and stops them for it", names.join(","))
        }
        _ => format!("`--only {container}` restores all its data, and stops it for that"),
    };
    Err(Error::new(Kind::Refused, format!("`{container}` runs and has `{path}` mounted")).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_not_replaced_beneath_a_container() {
        let mount = |container: &str, path: &str| Mounted { container: container.into(), path: path.into() };
        let mounts =
            [mount("one", "one"), mount("one", "one/sub/deep"), mount("two", "two"), mount("two", "one/shared")];
        let said = |part: RestorePart| check(&part, &mounts).err().map(|error| error.message);
        let path = |path: &str| said(RestorePart::Path(path.into()));
        let only = |names: &[&str]| said(RestorePart::Containers(names.iter().map(|s| (*s).to_owned()).collect()));
        assert_eq!(path("one/sub").as_deref(), Some("`one` runs and has `one/sub/deep` mounted"));
        assert_eq!(path("one/shared").as_deref(), Some("`two` runs and has `one/shared` mounted"));
        assert_eq!(path("one/sub/deep/file"), None, "seen through the mount");
        assert_eq!(path("one/su"), None);
        assert_eq!(only(&["one"]).as_deref(), Some("`two` runs and has `one/shared` mounted"));
        assert_eq!(only(&["one", "two"]), None);
        assert_eq!(only(&["two"]), None);
        assert_eq!(said(RestorePart::All), None);
        assert_eq!(below("/var/lib/lap/pool/data/one/x").as_deref(), Some("one/x"));
        assert_eq!(below("/var/lib/lap/binds/one%2Fx/at").as_deref(), Some("one/x"));
        assert_eq!(below("/var/lib/lap/names"), None);
    }
}

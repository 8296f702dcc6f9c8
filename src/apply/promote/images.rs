//! Brings the images that a release needs: from registry to registry by digest, only the layers that are missing; from Docker to
//! Docker where one side has no registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use bollard::query_parameters::RemoveImageOptionsBuilder;
use lap_base::{
    error::{Error, Kind, Result},
    words::{bytes, plural},
};

use super::planned::Planned;
use crate::{
    apply::{build, master::Master, options::Options, registry::Door, run::node_failed, transfer},
    plan::containers::REGISTRY,
    registry::{self, TransferStats},
    release::{desired_state::DesiredState, manifest::ImageSpec},
    report::Event,
    wire::{
        client::Held,
        labels::LABEL_BUILD,
        paths::{REGISTRY_ADDRESS, is_pushed_by_lap},
        protocol::{ImageFact, NodeFacts},
    },
};

/// Of what was copied, in the events.
const STEP: usize = 0;

/// Those that the release needs and that are not on the node yet; gives the number of bytes that were sent.
///
/// # Errors
/// One is nowhere, or cannot be brought.
pub async fn bring(planned: &Planned, held: &Held, options: &Options) -> Result<u64> {
    let desired = DesiredState::from(planned.target.clone());
    let missing = desired.lacking(&planned.facts);
    if missing.is_empty() {
        return Ok(0);
    }
    let Some(from) = &planned.from else { return again(planned, held, options, missing).await };
    let tested = from.node.client.facts().await?;
    let registries = has_registry(from, &tested)? && has_registry(&planned.master, &planned.facts)?;
    let wanted: BTreeSet<String> = missing.values().map(|image| image.build.clone()).collect();
    let mut by_digest = Vec::new();
    let mut whole = Vec::new();
    for (name, image) in missing {
        match image.reference.as_deref().and_then(parse) {
            Some((source, digest)) if registries => {
                let target = format!("infra/{}/{name}", desired.commit);
                by_digest.push(registry::ImageToCopy { source: source.to_owned(), target, digest: digest.to_owned() });
            }
            _ => {
                let fact = tested.images.iter().find(|fact| fact.build.as_deref() == Some(&image.build));
                let fact = fact.ok_or_else(|| {
                    Error::new(Kind::Node, format!("the image of `{name}` is not on `{}`", from.environment.name))
                })?;
                options.events.note(format!("  send the image of `{name}`"));
                whole.push(fact.tags.first().cloned().unwrap_or_else(|| fact.id.clone()));
            }
        }
    }
    let mut sent = 0;
    let before = planned.master.node.client.facts().await?.images;
    let brought = async {
        if !by_digest.is_empty() {
            sent += copied(from, planned, held, &by_digest, options).await?;
        }
        if !whole.is_empty() {
            sent += saved(from, &planned.master, held, &whole).await?;
        }
        Ok(sent)
    };
    let brought = brought.await;
    // Also when not all came: what came must not stay as something else.
    refuse_planted(planned, held, &before, &wanted).await?;
    brought
}

/// Removes what came and says it was built from what something else is built from: a node finds the image of a container by that label, so
/// that a promotion of one container could plant the image of another, or of an older release.
///
/// # Errors
/// There was such an image, or the node does not answer.
async fn refuse_planted(planned: &Planned, held: &Held, before: &[ImageFact], wanted: &BTreeSet<String>) -> Result<()> {
    let docker = planned.master.node.client.docker(Some(held.fence))?;
    let after = planned.master.node.client.facts().await?.images;
    let mut planted = Vec::new();
    for image in others(before, &after, wanted) {
        // The facts leave out a label that an older image has.
        let inspected = docker.inspect_image(&image.id).await;
        let labels = inspected.ok().and_then(|image| image.config?.labels).unwrap_or_default();
        if labels.contains_key(LABEL_BUILD) {
            let options = RemoveImageOptionsBuilder::new().force(true).build();
            let removed = docker.remove_image(&image.id, Some(options), None).await;
            removed.map_err(|error| node_failed(&format!("cannot remove the image `{}`", image.id), &error))?;
            planted.push(image.id.as_str());
        }
    }
    if planted.is_empty() {
        return Ok(());
    }
    let from = planned.from.as_ref().map(|from| from.environment.name.clone()).unwrap_or_default();
    let message = format!("`{from}` sent images that claim to be other images: `{}`", planted.join("`, `"));
    Err(Error::new(Kind::Refused, message)
        .hint(format!("lap removed them, and nothing has changed; inspect `{from}`: it behaves differently from lap")))
}

/// What is new and is not what was to come.
fn others<'a>(before: &[ImageFact], after: &'a [ImageFact], wanted: &BTreeSet<String>) -> Vec<&'a ImageFact> {
    let is_new = |image: &&ImageFact| !before.iter().any(|there| there.id == image.id);
    let is_wanted = |image: &&ImageFact| image.build.as_ref().is_some_and(|build| wanted.contains(build));
    after.iter().filter(is_new).filter(|image| !is_wanted(image)).collect()
}

/// What ran here before is in the node's own registry, whatever was removed from its Docker.
async fn again(planned: &Planned, held: &Held, options: &Options, missing: BTreeMap<&str, &ImageSpec>) -> Result<u64> {
    let docker = planned.master.node.client.docker(Some(held.fence))?;
    for (name, image) in missing {
        let reference = image
            .reference
            .as_deref()
            .ok_or_else(|| Error::new(Kind::Refused, format!("the image of `{name}` is no longer on the node")))?;
        options.events.note(format!("  pull the image of `{name}` from the node's registry"));
        build::pull(&docker, reference, &|_| {}).await?;
    }
    Ok(0)
}

/// Through the registries: layers that a registry has are not sent, and the digests stay what they were when they were tested.
async fn copied(
    from: &Master,
    planned: &Planned,
    held: &Held,
    images: &[registry::ImageToCopy],
    options: &Options,
) -> Result<u64> {
    let to = &planned.master;
    // What runs now takes them: the release that comes may have another registry.
    let running = planned.old.containers.get(REGISTRY);
    let door = Door::of(running, to.keys.as_deref(), &to.environment.name)?;
    let (here, there) = (from.registry()?, to.registry_to_write(held.fence, &door)?);
    let earlier = planned.old.images.values().filter_map(|image| image.reference.as_deref().and_then(parse));
    let mount_from: Vec<String> = earlier.map(|(repository, _)| repository.to_owned()).collect();
    let title = format!("send {}", plural(images.len(), "image"));
    options.events.tell(Event::Started { step: STEP, title: title.clone() });
    let begun = Instant::now();
    let line = |text: &str| options.events.output(STEP, text);
    let work = async {
        let copied: TransferStats = registry::copy(&here, &there, images, &mount_from, &line).await?;
        let docker = to.node.client.docker(Some(held.fence))?;
        for image in images {
            let reference = format!("{REGISTRY_ADDRESS}/{}@{}", image.target, image.digest);
            build::pull(&docker, &reference, &line).await?;
        }
        Ok::<_, Error>(copied)
    };
    let done = work.await;
    let seconds = begun.elapsed().as_secs_f64();
    match done {
        Ok(copied) => {
            let there = copied.present + copied.mounted;
            let title = format!("{title}: {} sent, {} existed already", bytes(copied.bytes), plural(there, "layer"));
            options.events.tell(Event::Done { step: STEP, title, seconds });
            Ok(copied.bytes)
        }
        Err(error) => {
            let message = error.message.clone();
            options.events.tell(Event::Failed { step: STEP, title, seconds, message });
            Err(error)
        }
    }
}

/// From one Docker to the other.
async fn saved(from: &Master, to: &Master, held: &Held, images: &[String]) -> Result<u64> {
    let (here, there) = (from.node.client.docker(None)?, to.node.client.docker(Some(held.fence))?);
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    transfer::copy(&here, &there, &images, &|_| {}).await
}

/// Sets where each image of a release is found on the node it was brought to.
pub fn settle(images: &mut BTreeMap<String, ImageSpec>, facts: &NodeFacts) {
    for image in images.values_mut() {
        let fact = facts.images.iter().find(|fact| fact.build.as_deref() == Some(&image.build));
        let mut references = fact.into_iter().flat_map(|fact| &fact.digests);
        image.reference = references.find(|digest| is_pushed_by_lap(digest)).cloned();
    }
}

/// Whether there is one; what should run and does not is no reason to go around it.
fn has_registry(master: &Master, facts: &NodeFacts) -> Result<bool> {
    match facts.containers.iter().find(|fact| fact.name == REGISTRY) {
        None => Ok(false),
        Some(fact) if fact.state == "running" => Ok(true),
        Some(fact) => {
            let name = &master.environment.name;
            let message = format!("the registry of `{name}` is {}, and a promotion needs it", fact.state);
            Err(Error::new(Kind::Refused, message)
                .hint(format!("run `lap start {name} registry`, then run the command again")))
        }
    }
}

/// Repository and digest of an image in a node's own registry.
fn parse(reference: &str) -> Option<(&str, &str)> {
    reference.strip_prefix(REGISTRY_ADDRESS)?.strip_prefix('/')?.split_once('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_what_was_to_come() {
        let image = |id: &str, build: Option<&str>| ImageFact {
            id: id.into(),
            tags: Vec::new(),
            digests: Vec::new(),
            build: build.map(str::to_owned),
        };
        let before = [image("git", Some("b1")), image("of somebody", None)];
        let after = [
            image("git", None),
            image("of somebody", None),
            image("web", Some("b2")),
            image("planted, older", Some("b1")),
            image("planted, newer", None),
        ];
        let wanted = ["b2".to_owned()].into();
        let ids: Vec<&str> = others(&before, &after, &wanted).iter().map(|image| image.id.as_str()).collect();
        assert_eq!(ids, ["planted, older", "planted, newer"]);
    }

    #[test]
    fn references_are_those_of_the_node_it_is_on() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let here = format!("{REGISTRY_ADDRESS}/infra/new/git@{digest}");
        assert_eq!(parse(&here), Some(("infra/new/git", digest.as_str())));
        assert_eq!(parse("docker.io/infra/new/git@sha256:0"), None);
        let image = |build: &str, reference: Option<&str>| ImageSpec {
            build: build.into(),
            parents: Vec::new(),
            reference: reference.map(str::to_owned),
        };
        let there = "localhost:5000/infra/old/git@sha256:0";
        let mut images = BTreeMap::from([
            ("git".to_owned(), image("b1", Some(there))),
            ("base".to_owned(), image("b2", Some("localhost:5000/infra/old/base@sha256:0"))),
        ]);
        let fact = ImageFact {
            id: "sha256:2".into(),
            tags: Vec::new(),
            // A person pushed the same image under a name of their own.
            digests: vec![
                "elsewhere/git@sha256:0".into(),
                format!("{REGISTRY_ADDRESS}/team/git@sha256:0"),
                here.clone(),
            ],
            build: Some("b1".into()),
        };
        settle(&mut images, &NodeFacts { images: vec![fact], ..NodeFacts::default() });
        assert_eq!(images["git"].reference.as_deref(), Some(here.as_str()));
        assert_eq!(images["base"].reference, None, "what is not there is not said to be");
    }
}

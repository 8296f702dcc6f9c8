//! Does what concerns the containers of one node, under its lock.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use lap_base::{
    archive::pack,
    error::{Error, Kind, OrError, Result},
};

use super::{
    Perform, build,
    builder::Builder,
    files::{self, Which},
    images::image_ids,
    install::{Contents, FileList, PushFacts},
    making::Making,
    options::short,
    push_image::{self, PushOrder},
    registry::Door,
    run::{self, RunOrder},
};
use crate::{
    config::model::{Container, Environment},
    drivers::rootfs,
    keys::Keys,
    plan::{
        Action,
        containers::{REGISTRY, secrets_hash},
    },
    release::{desired_state::DesiredState, manifest::ReleaseManifest},
    report::LineSink,
    wire::{
        client::{AgentClient, Held},
        paths::is_pushed_by_lap,
        protocol::{
            lock::Note,
            request::{InstallTarget, Request},
            response::Response,
        },
    },
    workspace::Workspace,
};
use async_trait::async_trait;
use bollard::Docker;

/// Performs on one master.
pub struct OnNode {
    pub workspace: Arc<Workspace>,
    pub keys: Option<Arc<Keys>>,
    pub environment: Environment,
    pub seen: PushFacts,
    pub client: AgentClient,
    pub docker: Docker,
    pub held: Held,
    pub desired: DesiredState,
    pub making: Making,
    /// What is installed on the node, kept up to date while it changes.
    pub installed: Mutex<BTreeMap<String, String>>,
    /// Ids of images by their build.
    pub images: Mutex<BTreeMap<String, String>>,
    /// `anna@notebook`
    pub who: String,
}

#[async_trait]
impl Perform for OnNode {
    async fn begins(&self, title: &str) -> Result<()> {
        self.held.note(&Note::Step(title.to_owned())).await
    }

    async fn did(&self, title: &str) {
        // The next step, or the end, finds out that the connection is gone.
        let _ = self.held.note(&Note::Did(title.to_owned())).await;
    }

    async fn perform(&self, action: &Action, line: &LineSink<'_>) -> Result<()> {
        match action {
            Action::InstallAccess => self.put(InstallTarget::Ssh, None).await,
            Action::InstallTrust => self.put(InstallTarget::Trust, None).await,
            Action::InstallNames => self.put(InstallTarget::Names, None).await,
            Action::InstallPolicy => self.put(InstallTarget::Policy, None).await,
            Action::InstallEnvironment { digest } => self.put_environment(digest).await,
            Action::InstallChecks { digest } => self.put_checks(digest).await,
            Action::InstallSecrets { container, .. } | Action::InstallKeys { container } => {
                self.put_secrets(container).await
            }
            Action::MakeRootfs { of, .. } if self.keys.is_none() => {
                let message =
                    format!("the root file system of `{of}` changed, and only an operator's machine can make it");
                Err(Error::new(Kind::Refused, message)
                    .hint(format!("run `lap up {}` there, with this commit checked out", self.environment.name)))
            }
            Action::MakeRootfs { rootfs, .. } => rootfs::make(&self.workspace.cache, rootfs, line).await.map(|_| ()),
            Action::PullBase { image } => build::pull(&self.docker, image, line).await,
            Action::Pull { reference, .. } => {
                build::pull(&self.docker, reference, line).await?;
                self.learn_images().await
            }
            Action::Build { container, build, on } => self.build(container, build, on.as_deref(), line).await,
            Action::Bring { containers, .. } => self.bring(containers, line).await,
            Action::Push { container, commit } => {
                let images = self.images();
                let image = build::id(&self.desired, &images, container)?;
                let registry = self.desired.containers.get(REGISTRY);
                let door = Door::of(registry, self.keys.as_deref(), &self.environment.name)?;
                let order = PushOrder { environment: &self.environment.name, image, container, commit, door: &door };
                push_image::push(&self.docker, &order, line).await
            }
            Action::SaveImage { container } => {
                let request = Request::SaveImage {
                    fence: self.held.fence,
                    image: build::name(container),
                    file: format!("{container}.tar"),
                };
                self.client.ask(&request, &[]).await.map(|_| ())
            }
            Action::LoadImage { container } => {
                let request = Request::LoadImage { fence: self.held.fence, file: format!("{container}.tar") };
                self.client.ask(&request, &[]).await?;
                self.learn_images().await
            }
            Action::Run { container, .. } => self.run(container).await,
            Action::AwaitHealthy { container, seconds } => {
                let request = Request::AwaitHealthy { container: container.clone(), seconds: *seconds };
                self.client.ask(&request, &[]).await.map(|_| ())
            }
            Action::StopContainer { container } => run::remove(&self.docker, container).await,
            Action::Remove { container } => {
                run::remove(&self.docker, container).await?;
                let place = InstallTarget::Secrets(container.clone());
                self.client.ask(&Request::Uninstall { fence: self.held.fence, place }, &[]).await.map(|_| ())
            }
            Action::Record { .. } => self.record().await,
            other => Err(Error::new(Kind::Other, format!("not a step for a node: {other}"))),
        }
    }
}

impl OnNode {
    fn contents(&self) -> Contents<'_> {
        Contents {
            workspace: &self.workspace,
            keys: self.keys.as_deref(),
            environment: &self.environment,
            seen: &self.seen,
            runs: self.desired.release.map(|_| &self.desired.containers),
        }
    }

    fn container(&self, name: &str) -> Result<&Container> {
        let container = self.desired.containers.get(name);
        container.ok_or_else(|| Error::new(Kind::Config, format!("there is no container `{name}`")))
    }

    async fn put(&self, place: InstallTarget, container: Option<&Container>) -> Result<()> {
        let files = self.contents().files(&place, container)?;
        self.send(place, files).await
    }

    async fn send(&self, place: InstallTarget, files: FileList) -> Result<()> {
        let tar = pack(files.iter().map(|(name, mode, bytes)| (name.as_str(), *mode, bytes.as_slice())))?;
        self.send_tar(place, &tar).await
    }

    async fn send_tar(&self, place: InstallTarget, tar: &[u8]) -> Result<()> {
        let request = Request::Install { fence: self.held.fence, place: place.clone(), size: tar.len() as u64 };
        let Response::Installed { files } = self.client.ask(&request, tar).await? else {
            return Err(Error::new(Kind::Node, "the agent does not report what it installed"));
        };
        if let InstallTarget::Secrets(container) = place {
            let mut installed = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
            let prefix = format!("secrets/{container}/");
            installed.retain(|path, _| !path.starts_with(&prefix));
            installed.extend(files.into_iter().map(|(path, hash)| (format!("{prefix}{path}"), hash)));
        }
        Ok(())
    }

    async fn put_environment(&self, digest: &str) -> Result<()> {
        let tar = match &self.making.tree {
            Some(tree) => tree.environment.write_tar(Vec::new(), &[])?,
            None => self.recorded(Which::Environment, digest)?,
        };
        self.send_tar(InstallTarget::Env(digest.to_owned()), &tar).await
    }

    async fn put_checks(&self, digest: &str) -> Result<()> {
        let tar = match &self.making.tree {
            Some(tree) => tree.checks.write_tar(Vec::new(), &[])?,
            None => self.recorded(Which::Checks, digest)?,
        };
        self.send_tar(InstallTarget::Checks(digest.to_owned()), &tar).await
    }

    /// Files of what was recorded, on a node that does not have them.
    fn recorded(&self, which: Which, digest: &str) -> Result<Vec<u8>> {
        let commit = &self.desired.commit;
        files::find(&self.workspace, &self.environment.name, commit, which, digest)?.ok_or_else(|| {
            let message = format!("the files of `{}` are neither on the node nor in the workspace", short(commit));
            Error::new(Kind::Refused, message)
                .hint("fetch that commit into the workspace's repository, then run the command again")
        })
    }

    async fn put_secrets(&self, name: &str) -> Result<()> {
        let container = self.container(name)?;
        let place = InstallTarget::Secrets(name.to_owned());
        let files = self.contents().secrets(container)?;
        self.send(place, files).await
    }

    /// Ids of the node's images.
    fn images(&self) -> BTreeMap<String, String> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn build(&self, name: &str, identity: &str, on: Option<&str>, line: &LineSink<'_>) -> Result<()> {
        let container = self.container(name)?;
        let tree = self.making.tree.as_ref();
        let context = tree.and_then(|tree| tree.contexts.get(name));
        let context = context.ok_or_else(|| Error::new(Kind::Build, format!("the files of `{name}` are missing")))?;
        let archive = container.build.rootfs.as_ref().map(|rootfs| rootfs::cached(&self.workspace.cache, rootfs));
        let mut more = Vec::new();
        if let Some(archive) = &archive {
            more.push(("rootfs.tar", 0o644, archive.as_path()));
        }
        if container.build.with_lap {
            more.push(("lap", 0o755, std::path::Path::new("/proc/self/exe")));
        }
        let order = build::BuildOrder {
            container: name,
            build: identity,
            args: container.build.args.clone().into_iter().collect(),
            context,
            more,
        };
        let (docker, ids) = match on {
            None => (&self.docker, self.images()),
            Some(_) => (&self.builder()?.docker, self.builder()?.images().await?),
        };
        for parent in self.desired.images.get(name).into_iter().flat_map(|image| &image.parents) {
            build::name_it(docker, &self.desired, &ids, parent).await?;
        }
        build::build(docker, order, line).await?;
        if on.is_some() { Ok(()) } else { self.learn_images().await }
    }

    async fn bring(&self, containers: &[String], line: &LineSink<'_>) -> Result<()> {
        let bases = self.making.tree.as_ref().map(|tree| &tree.bases);
        let none = BTreeMap::new();
        self.builder()?.bring(&self.docker, &self.desired, containers, bases.unwrap_or(&none), line).await?;
        self.learn_images().await
    }

    fn builder(&self) -> Result<&Builder> {
        self.making.builder.as_ref().ok_or_else(|| Error::new(Kind::Other, "the builder is not connected"))
    }

    /// Asks the node for its images: ids are needed to start by them.
    async fn learn_images(&self) -> Result<()> {
        let facts = self.client.facts().await?;
        // Steps that run at the same time ask at the same time: an older answer may come last, and must not hide a newer one.
        self.images.lock().unwrap_or_else(PoisonError::into_inner).extend(image_ids(&facts));
        Ok(())
    }

    async fn run(&self, name: &str) -> Result<()> {
        let container = self.container(name)?;
        let images = self.images();
        let image = build::id(&self.desired, &images, name)?;
        let request = Request::MakeData {
            fence: self.held.fence,
            containers: vec![name.to_owned()],
            sources: container.volumes.iter().map(|volume| volume.source.clone()).collect(),
        };
        self.client.ask(&request, &[]).await?;
        let secrets = secrets_hash(&self.installed.lock().unwrap_or_else(PoisonError::into_inner), name);
        let address = self.seen.nodes.get(&self.environment.master).copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        let order = RunOrder {
            container,
            image,
            environment: &self.environment.name,
            commit: &self.desired.commit,
            env: &self.desired.env,
            spec: &self.desired.spec(container),
            secrets: &secrets,
            node_address: address,
        };
        run::run(&self.docker, &order).await
    }

    async fn record(&self) -> Result<()> {
        let facts = self.client.facts().await?;
        let mut images = self.desired.images.clone();
        for (name, image) in &mut images {
            let fact = facts.images.iter().find(|fact| fact.build.as_deref() == Some(&image.build));
            let mut references = fact.into_iter().flat_map(|fact| &fact.digests);
            image.reference = references.find(|digest| is_pushed_by_lap(digest)).cloned();
            if image.reference.is_none() && fact.is_some() && self.desired.containers.contains_key(REGISTRY) {
                return Err(
                    Error::new(Kind::Node, format!("`{name}` is not in the registry")).hint("`lap up` pushes it")
                );
            }
        }
        let current = ReleaseManifest {
            commit: self.desired.commit.clone(),
            release: self.desired.release,
            env: self.desired.env.clone(),
            checks: self.desired.checks.clone(),
            containers: self.desired.containers.clone(),
            images,
            by: self.who.clone(),
            at: lap_base::clock::now(),
        };
        let json = serde_json::to_vec_pretty(&current).or_error(Kind::Other, || "current.json".into())?;
        let mut files = vec![("current.json".to_owned(), 0o600, json.clone())];
        files.extend(current.release.map(|number| (format!("releases/{number}.json"), 0o600, json)));
        self.send(InstallTarget::State, files).await
    }
}

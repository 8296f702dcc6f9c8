//! What each scenario does, and what has to be so afterwards.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use lap_base::error::{Error, Kind, OrError, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    bare::{self, Bare, Restart},
    files::{self, FIRST, NODE, OTHER, SECOND},
    lap::Lap,
    power,
    scenario::{On, Scenario, ScenarioResult},
};
use crate::{
    drivers::{
        self,
        command::Run,
        node::{docker, vm::spec},
    },
    report::LineSink,
    workspace::Workspace,
};

/// Where the container's pages are, on the node.
const PORT: u16 = 8080;
/// So long a page may take; machines may be emulated.
const PAGE: Duration = Duration::from_secs(20);
/// And so long whoever serves it may take to begin: a restore is over when its containers run, not when they serve.
const BEGINS: Duration = Duration::from_secs(60);

/// The lab, and what is known of it by now.
pub struct Stage {
    lap: Lap,
    on: On,
    bare: Option<Bare>,
    stop: watch::Receiver<bool>,
    /// Where it answered when it was booted.
    address: Option<Ipv4Addr>,
}

/// Passed, or why it is not possible.
type Played = Result<Option<String>>;

impl Stage {
    pub fn new(lap: Lap, on: On, bare: Option<Bare>, stop: watch::Receiver<bool>) -> Self {
        Self { lap, on, bare, stop, address: None }
    }

    /// Plays one.
    pub async fn play(&mut self, scenario: Scenario, line: &LineSink<'_>) -> ScenarioResult {
        let played = match scenario {
            Scenario::Boot => self.boot(line).await,
            Scenario::Address => self.address(line).await,
            Scenario::Names => self.names(line).await,
            Scenario::Ssh => self.ssh(line).await,
            Scenario::PushAndPull => self.push_and_pull(line).await,
            Scenario::Snapshot => self.snapshot(line).await,
            Scenario::Restore => self.restore(line).await,
            Scenario::Promote => self.promote(line).await,
            Scenario::Halt => self.halt(line).await,
            Scenario::BootAgain => self.boot_again(line).await,
            Scenario::PowerCut => self.power_cut(line).await,
            Scenario::Destroy => self.destroy(line).await,
        };
        match played {
            Ok(None) => ScenarioResult::Passed,
            Ok(Some(why)) => ScenarioResult::NotPossible(why),
            Err(_) if *self.stop.borrow() => ScenarioResult::Failed("stopped".into()),
            Err(error) => ScenarioResult::Failed(error.message),
        }
    }

    fn workspace(&self) -> Result<Workspace> {
        Workspace::open(&self.lap.root, None)
    }

    /// From nothing until all that should run is healthy.
    async fn boot(&mut self, line: &LineSink<'_>) -> Played {
        if self.bare.is_some() {
            self.lap.ok(&["node", "prepare", NODE, "--yes"], line).await?;
        }
        self.lap.ok(&["up", NODE], line).await?;
        self.lap.ok(&["status", NODE], line).await?;
        self.address = Some(self.listed(line).await?);
        let again = self.lap.ok(&["up", NODE], line).await?;
        same("a second `lap up`", &again.contains("Nothing to do"), &true)
    }

    /// The address that `lap node list` says, if the node answers there.
    async fn listed(&self, line: &LineSink<'_>) -> Result<Ipv4Addr> {
        let list = self.lap.ok(&["node", "list", "--json"], line).await?;
        let list: Vec<serde_json::Value> =
            serde_json::from_str(&list).or_error(Kind::Other, || "`lap node list --json`".into())?;
        let node = list.iter().find(|node| node["node"] == NODE).cloned().unwrap_or_default();
        same("the state of the node", &node["state"].as_str().unwrap_or_default(), &"answers")?;
        let address = node["address"].as_str().unwrap_or_default();
        address.parse().or_error(Kind::Node, || format!("the address `{address}` of `{NODE}`"))
    }

    fn at(&self) -> Result<Ipv4Addr> {
        self.address.ok_or_else(|| Error::new(Kind::Node, format!("the address of `{NODE}` is not known")))
    }

    /// The address of its node.toml, from this machine and from inside; and what a container serves there.
    async fn address(&self, line: &LineSink<'_>) -> Played {
        let (workspace, at) = (self.workspace()?, self.at()?);
        let facts = drivers::node::observe(&workspace.lab).await?.facts;
        let (_, addresses) = workspace.addresses(&facts)?;
        same("the node's address", &addresses.get(NODE), &Some(&at))?;
        let inside = self.lap.inside("ip -4 -oneline address show", line).await?;
        same("the node has its address", &inside.contains(&format!(" {at}/")), &true)?;
        same("what `one` serves", &self.page("say").await?, &FIRST.to_owned())
    }

    /// Every name, asked from here, from the node and from inside a container; and one of them by a plain question.
    async fn names(&self, line: &LineSink<'_>) -> Played {
        let said = self.lap.ok(&["dns", "check", NODE], line).await?;
        same("`lap dns check`", &said.contains("from host, node and container: correct"), &true)?;
        let at = self.at()?.to_string();
        let said = self.lap.ok(&["dns", "query", "--server", &at, "one.internal", "A"], line).await?;
        same("`one.internal` is the node", &said.contains(&at), &true)
    }

    /// The node from inside, with stock ssh; and not with a key that nobody allowed.
    async fn ssh(&self, line: &LineSink<'_>) -> Played {
        // What exists keeps its own name.
        let name = match &self.bare {
            Some(bare) => bare.name().await?,
            None => format!("{NODE}\n"),
        };
        same("the node's name", &self.lap.inside("hostname", line).await?, &name)?;
        let lap = self.lap.root.join(".lap");
        let path = |name: &str| lap.join(name).display().to_string();
        let make = ["-q", "-t", "ed25519", "-N", "", "-f", &path("stranger")].map(str::to_owned);
        Run::new("ssh-keygen", make).quiet(Kind::Host).await?;
        let known = format!("UserKnownHostsFile={}", path("known_hosts"));
        let mut arguments: Vec<String> = vec!["-F".into(), "none".into(), "-i".into(), path("stranger")];
        for option in ["IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=yes", "BatchMode=yes", &known]
        {
            arguments.extend(["-o".to_owned(), option.to_owned()]);
        }
        let (workspace, at) = (self.workspace()?, self.at()?);
        if let Some(node) = workspace.lab.nodes.get(NODE)
            && let (Some(via), to) = workspace.way(node, at)?
        {
            arguments.extend(["-o".into(), format!("ProxyCommand={}", via.proxy_command(&to.to_string()))]);
        }
        arguments.extend([format!("root@{at}"), "true".into()]);
        match Run::new("ssh", arguments).quiet(Kind::Node).await {
            Ok(_) => Err(Error::new(Kind::Refused, "the node admits any key")),
            Err(error) if error.message.contains("Permission denied (publickey)") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An image goes into the node's registry, is removed, and comes back as what it was.
    async fn push_and_pull(&self, line: &LineSink<'_>) -> Played {
        let said = self.lap.inside(PUSH_AND_PULL, line).await?;
        let mut lines = said.lines().filter(|line| line.starts_with("sha256:"));
        let (pushed, pulled) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        same("what was pulled", &(pulled.is_empty(), pulled), &(false, pushed))
    }

    async fn snapshot(&self, line: &LineSink<'_>) -> Played {
        self.lap.inside("echo before >/data/one/page && sync /data/one/page", line).await?;
        self.lap.ok(&["snapshot", NODE], line).await?;
        let list = self.lap.ok(&["snapshot", "list", NODE], line).await?;
        same("snapshots in the list", &(list.lines().count() > 1), &true)
    }

    /// What was written after the snapshot is away, for who asks from outside, too.
    async fn restore(&self, line: &LineSink<'_>) -> Played {
        self.lap.inside("echo after >/data/one/page && echo new >/data/one/new", line).await?;
        same("the page", &self.page("data/page").await?.as_str(), &"after\n")?;
        self.lap.ok(&["restore", "--yes", "latest", NODE], line).await?;
        same("the page", &self.page("data/page").await?.as_str(), &"before\n")?;
        same("files", &self.lap.inside("cd /data/one && echo *", line).await?.as_str(), &"page\n")
    }

    /// From a container's node to this one: the new image and the old data.
    async fn promote(&self, line: &LineSink<'_>) -> Played {
        if !self.lap.root.join("env").join(OTHER).exists() {
            return Ok(Some(
                "the source of the promotion is a container, and no Docker answers on this machine".into(),
            ));
        }
        files::put(&self.lap.root.join(files::SAY), SECOND)?;
        files::commit(&self.lap.root)?;
        self.lap.ok(&["up", OTHER], line).await?;
        same("what `one` served before", &self.page("say").await?.as_str(), &FIRST)?;
        self.lap.ok(&["promote", "--to", NODE, "--yes", "--settle", "1s"], line).await?;
        self.second().await
    }

    /// What the promotion brought, over the data that were there.
    async fn second(&self) -> Played {
        same("what `one` serves", &self.page("say").await?.as_str(), &SECOND)?;
        same("the page", &self.page("data/page").await?.as_str(), &"before\n")
    }

    async fn halt(&self, line: &LineSink<'_>) -> Played {
        self.lap.ok(&["down", NODE], line).await?;
        match &self.bare {
            // It goes on, without what lap started.
            Some(bare) => {
                bare.name().await?;
                same("what `one` serves", &self.page_now("say").await.ok(), &None)?;
            }
            None => {
                let facts = drivers::node::observe(&self.workspace()?.lab).await?.facts;
                same("the node runs", &facts.nodes.get(NODE).map(|node| node.running), &Some(false))?;
            }
        }
        same("`lap status` ends with 0", &(self.lap.run(&["status", NODE], line).await?.code == 0), &false)
    }

    /// At the same address, with all that ran, and the data.
    async fn boot_again(&self, line: &LineSink<'_>) -> Played {
        self.lap.ok(&["up", NODE], line).await?;
        // On a slow machine a check may fail for a moment while everything starts.
        self.healthy_by_itself(line).await?;
        same("the node's address", &self.listed(line).await?, &self.at()?)?;
        // Where nothing came before, that is a page of its own.
        let say = self.page("say").await?;
        same("what `one` serves", &[FIRST, SECOND].contains(&say.as_str()), &true)?;
        let Some(bare) = &self.bare else { return Ok(None) };
        if let Some(why) = bare.restart(Restart::InOrder).await? {
            return Ok(Some(why));
        }
        self.healthy_by_itself(line).await?;
        same("what `one` serves", &self.page("say").await?, &say)
    }

    /// Its agent brings all of it up, and nobody calls `lap up`.
    async fn healthy_by_itself(&self, line: &LineSink<'_>) -> Result<()> {
        let until = Instant::now() + bare::BOOT;
        while self.lap.run(&["status", NODE], line).await?.code != 0 {
            if *self.stop.borrow() || Instant::now() > until {
                return Err(Error::new(Kind::Unhealthy, "the containers do not start automatically"));
            }
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    /// In the middle of writes: what was said to be on the disk is there, and all comes back.
    async fn power_cut(&self, line: &LineSink<'_>) -> Played {
        let say = self.page("say").await?;
        self.lap.inside("echo kept >/data/one/kept && sync /data/one/kept", line).await?;
        self.lap.inside(NOISE, line).await?;
        let not = match &self.bare {
            Some(bare) => bare.restart(Restart::AtOnce).await?,
            None => power::cut(&self.workspace()?, self.on).await?,
        };
        if not.is_some() {
            return Ok(not);
        }
        if self.bare.is_none() {
            same("`lap status` ends with 0", &(self.lap.run(&["status", NODE], line).await?.code == 0), &false)?;
        }
        self.lap.ok(&["up", NODE], line).await?;
        self.lap.ok(&["status", NODE], line).await?;
        self.lap.inside("rm -f /data/one/noise", line).await?;
        same("what was synced", &self.page("data/kept").await?.as_str(), &"kept\n")?;
        same("what `one` serves", &self.page("say").await?, &say)
    }

    /// Nothing of the node is left on this machine.
    async fn destroy(&self, line: &LineSink<'_>) -> Played {
        self.lap.ok(&["destroy", NODE, "--yes"], line).await?;
        if let Some(bare) = &self.bare {
            return same("what is left on the machine", &bare.left().await?.as_str(), &"");
        }
        let workspace = self.workspace()?;
        let drivers::node::Machines { docker, facts } = drivers::node::observe(&workspace.lab).await?;
        same("the node is there", &facts.nodes.contains_key(NODE), &false)?;
        same("its disk is there", &facts.vm.disks.contains(NODE), &false)?;
        if let Some(docker) = docker {
            let volumes = docker::volumes(&docker, &workspace.lab.name).await?;
            let ours = docker::volume_names(&workspace.lab.name, NODE);
            same("its volumes are there", &ours.iter().any(|volume| volumes.contains(volume)), &false)?;
        }
        let dir = spec::dir(&workspace.lab.name, NODE);
        same(&format!("`{}` is there", dir.display()), &Path::new(&dir).exists(), &false)
    }

    /// What the container serves at the node's address, asked from this machine, as soon as it does.
    async fn page(&self, path: &str) -> Result<String> {
        let until = Instant::now() + BEGINS;
        loop {
            match self.page_now(path).await {
                Err(_) if Instant::now() < until && !*self.stop.borrow() => sleep(Duration::from_millis(100)).await,
                page => return page,
            }
        }
    }

    async fn page_now(&self, path: &str) -> Result<String> {
        let at = self.at()?;
        let what = || format!("cannot get http://{at}:{PORT}/{path}");
        let get = async {
            let mut stream = TcpStream::connect((at, PORT)).await?;
            stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {at}\r\n\r\n").as_bytes()).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.map(|_| text)
        };
        let text = timeout(PAGE, get).await.or_error(Kind::Node, what)?.or_error(Kind::Node, what)?;
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.") && head.contains(" 200 ") => Ok(body.to_owned()),
            _ => Err(Error::new(Kind::Node, format!("{}: {}", what(), text.lines().next().unwrap_or_default()))),
        }
    }
}

/// The registry takes images from the node only, with the password that lies there.
const PUSH_AND_PULL: &str = "set -eu; name=conformance/some:1; image=localhost:5000/$name; dir=$(mktemp -d)\n\
    trap 'rm -rf \"$dir\"' EXIT; head -c 300000 /dev/urandom >\"$dir/some\"\n\
    tar -C \"$dir\" -c some | docker import - $image\n\
    if docker push --quiet $image >/dev/null 2>&1; then echo 'port 5000 takes images' >&2; exit 1; fi\n\
    door=127.0.0.1:5001; password=/var/lib/lap/secrets/registry/registry.password\n\
    docker --config \"$dir\" login --username lap --password-stdin $door <$password >/dev/null 2>&1\n\
    docker tag $image $door/$name; docker --config \"$dir\" push --quiet $door/$name >/dev/null\n\
    docker rmi $door/$name $image >/dev/null\n\
    docker pull --quiet $image >/dev/null; docker inspect --format '{{.Id}}' $image; docker rmi $image >/dev/null\n";

const NOISE: &str = "(while :; do head -c 32M /dev/urandom >/data/one/noise; done) >/dev/null 2>&1 &";

/// Says what is otherwise than it should be.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Played {
    if is == should {
        return Ok(None);
    }
    Err(Error::new(Kind::Unhealthy, format!("{what}: expected {should:?}, found {is:?}")))
}

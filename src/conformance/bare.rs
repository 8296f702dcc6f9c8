//! A machine that somebody lends for it. It is reached as its owner reaches it, and restarts only if they allow it.

use std::time::Duration;

use lap_base::error::{Error, Kind, Result};
use tokio::time::{Instant, sleep};

use super::files::NODE;
use crate::{
    drivers::{node::machine, stock_ssh::StockSsh},
    keys::ssh_fingerprint,
};

/// So long it may take until it answers again. A server's firmware takes minutes, and so does an emulated machine.
pub const BOOT: Duration = Duration::from_secs(900);

/// Which machine, and what may be done with it.
#[derive(Clone, Debug)]
pub struct Bare {
    /// As ssh(1) takes it.
    pub destination: String,
    pub may_restart: bool,
}

/// How it goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    InOrder,
    /// From one instant to the next, as when its power is cut (sysrq(7), `b`): nothing is written back.
    AtOnce,
}

impl Bare {
    fn ssh(&self) -> StockSsh {
        StockSsh::known(&self.destination, &self.destination)
    }

    /// The fingerprint of its host key. The person's known hosts decide whether it is the right one.
    ///
    /// # Errors
    /// It does not answer, or shows one that they do not know.
    pub async fn fingerprint(&self) -> Result<String> {
        self.ssh().done("log in", &["true"], &[], &|_| {}).await?;
        Ok(ssh_fingerprint(&self.ssh().host_key().await?))
    }

    /// What it calls itself, as its owner sees it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn name(&self) -> Result<String> {
        self.ssh().done("look", &["hostname"], &[], &|_| {}).await
    }

    /// Refuses a machine that is a node already.
    ///
    /// # Errors
    /// It is one, or cannot be looked at.
    pub async fn free(&self) -> Result<()> {
        let look = machine::probe_machine(&self.ssh(), None).await?;
        if look.get("who").is_empty() {
            return Ok(());
        }
        let message = format!("`{}` is a node already: lap changed nothing on it", self.destination);
        Err(Error::new(Kind::Refused, message).hint("use a machine that belongs to no lab"))
    }

    /// Restarts it and waits until it answers again. `Some`: why that is not possible.
    ///
    /// # Errors
    /// It does not come back.
    pub async fn restart(&self, how: Restart) -> Result<Option<String>> {
        if !self.may_restart {
            return Ok(Some("`--may-restart` is needed to restart the machine".into()));
        }
        let ssh = self.ssh();
        let look = machine::probe_machine(&ssh, None).await?;
        let root = look.as_root().unwrap_or_default();
        let how = match how {
            Restart::InOrder => "systemctl reboot",
            Restart::AtOnce => "sleep 1; echo b >/proc/sysrq-trigger",
        };
        let before = boot(&ssh).await?;
        let command = [root, &["sh", "-c", RESTART, "sh", how]].concat();
        match ssh.run(&command, &[], &|_| {}).await?.code {
            Some(0) => {}
            Some(NOT_A_MACHINE) => {
                return Ok(Some("it is a container, or has no systemd to start the agent again".into()));
            }
            _ => return Err(Error::new(Kind::Node, format!("`{}` cannot be restarted", self.destination))),
        }
        let until = Instant::now() + BOOT;
        loop {
            sleep(Duration::from_secs(1)).await;
            match boot(&ssh).await {
                Ok(now) if now != before => return Ok(None),
                _ if Instant::now() < until => {}
                Ok(_) => return Err(Error::new(Kind::Node, format!("`{}` does not restart", self.destination))),
                Err(error) => return Err(error),
            }
        }
    }

    /// What lap has left on it after `lap destroy`, a path a line.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn left(&self) -> Result<String> {
        let look = machine::probe_machine(&self.ssh(), None).await?;
        let command = [look.as_root().unwrap_or_default(), &["sh", "-c", LEFT]].concat();
        self.ssh().done("look", &command, &[], &|_| {}).await
    }

    /// `node.toml` as `lap node add` writes it, with a pool that is no larger than it must be.
    pub fn small(text: &str) -> String {
        text.replacen("provider = ", "disk = \"1g\"\nprovider = ", 1)
    }

    /// The arguments of `lap` that take it in.
    pub fn add<'a>(&'a self, fingerprint: &'a str) -> [&'a str; 8] {
        ["node", "add", NODE, &self.destination, "--environment", NODE, "--host-key", fingerprint]
    }
}

/// Another one after each boot.
async fn boot(ssh: &StockSsh) -> Result<String> {
    ssh.done("look", &["cat", "/proc/sys/kernel/random/boot_id"], &[], &|_| {}).await
}

const NOT_A_MACHINE: i32 = 3;
/// A container would restart the machine it is on.
const RESTART: &str = "[ -d /run/systemd/system ] && ! systemd-detect-virt --quiet --container || exit 3\n\
                       exec systemd-run --quiet --collect sh -c \"$1\"";
const LEFT: &str = "for path in /var/lib/lap/* /usr/local/bin/lap /etc/systemd/system/lap-agent.service; do\n\
                    [ ! -e \"$path\" ] || echo \"$path\"; done";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_restarts_only_if_its_owner_allows_it() {
        let bare = Bare { destination: "nowhere".into(), may_restart: false };
        assert!(bare.restart(Restart::AtOnce).await.unwrap().unwrap().contains("--may-restart"));
    }

    #[test]
    fn its_pool_is_small() {
        assert_eq!(Bare::small("a = 1\nprovider = \"ssh\"\n"), "a = 1\ndisk = \"1g\"\nprovider = \"ssh\"\n");
    }
}

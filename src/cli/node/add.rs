//! `lap node add`

use std::{fs, net::Ipv4Addr, process::ExitCode};

use lap_base::error::{Error, Kind, OrError, Result};

use super::super::{
    common::runtime,
    confirm::{cancelled, yes},
    value,
};
use crate::{
    apply::local::read,
    cli::global::Global,
    config::{destination, machine_file, value::name::label},
    drivers::stock_ssh::StockSsh,
    keys::{same_key, ssh_fingerprint},
    report::print::outln,
};

/// Add an existing machine: show its host key, pin it, write its node.toml
///
/// For an existing node, lap shows its host key and pins it again.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The name of the node
    node: String,
    /// The destination for `ssh`: a name in `~/.ssh/config`, `[user@]host`, or `ssh://[user@]host[:port]`
    destination: String,
    /// The address at which clients reach its services [default: the one that `ssh` connects to]
    #[arg(long, value_parser = value::ipv4)]
    address: Option<Ipv4Addr>,
    /// The environment [default: `default` in lap.toml]
    #[arg(short, long)]
    environment: Option<String>,
    /// Its role
    #[arg(long, default_value = "master", value_parser = ["master", "worker", "data", "builder", "backup"])]
    role: String,
    /// Its host key (the line of a .pub file) or fingerprint (`SHA256:…`), instead of the question
    #[arg(long, value_name = "KEY")]
    host_key: Option<String>,
    /// An empty disk for the pool [default: a sparse file]
    #[arg(long)]
    device: Option<String>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let root = crate::config::find(&global.start()?)?;
        let wrong = |message| Error::new(Kind::Usage, message);
        let name = label(&self.node).map_err(wrong)?;
        let destination = destination(&self.destination).map_err(wrong)?;
        let machine = StockSsh::known(&name, &destination);
        let shown = runtime()?.block_on(machine.host_key())?;
        let fingerprint = ssh_fingerprint(&shown);
        match &self.host_key {
            Some(wanted) if same_key(&shown, wanted) => {}
            Some(_) => {
                let message = format!("the host key of `{destination}` differs from the given one: {fingerprint}");
                return Err(Error::new(Kind::Keys, message).hint("lap wrote nothing, and sent nothing to it"));
            }
            None => {
                outln!("The host key of `{destination}` is {} {fingerprint}", shown.algorithm());
                let question =
                    "Is this key correct? (on the machine: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`)";
                if !yes(question, "--host-key SHA256:…")? {
                    return Err(cancelled());
                }
            }
        }
        let key = shown.to_openssh().or_error(Kind::Other, || "cannot write the host key".into())?;
        // Without its comment, which the machine does not send.
        let key = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let environment = match self.environment {
            Some(environment) => environment,
            None => global.workspace()?.lab.default_environment.clone(),
        };
        let address = match self.address {
            Some(address) => address,
            None => runtime()?.block_on(machine.address())?,
        };
        let dir = root.join("nodes").join(&name);
        let file = dir.join("node.toml");
        let new = machine_file(&environment, &self.role, address, &destination, &key, self.device.as_deref());
        let old = read(&file)?;
        let again = old.as_deref().map(|old| repinned(old, &destination, &key));
        let what = match (&old, again) {
            (Some(_), None | Some(None)) => {
                return Err(Error::new(
                    Kind::Refused,
                    format!("there is a node `{name}` already, with another destination than `{destination}`"),
                )
                .hint(format!("run `lap node rm {name}`, or edit nodes/{name}/node.toml")));
            }
            (Some(_), Some(Some(text))) => text,
            (None, _) => new,
        };
        fs::create_dir_all(&dir).or_error(Kind::Host, || format!("cannot make `{}`", dir.display()))?;
        fs::write(&file, what).or_error(Kind::Host, || format!("cannot write `{}`", file.display()))?;
        outln!("Wrote nodes/{name}/node.toml. Prepare the machine with `lap node prepare {name}`.");
        Ok(ExitCode::SUCCESS)
    }
}

/// The same file with this host key; `None`: it is about another machine.
fn repinned(old: &str, destination: &str, key: &str) -> Option<String> {
    let place = format!("destination = \"{destination}\"");
    let lines: Vec<&str> = old.lines().collect();
    let at = lines.iter().position(|line| line.trim() == place)?;
    let mut out: Vec<String> =
        lines.iter().filter(|line| !line.trim_start().starts_with("host_key")).map(|line| (*line).to_owned()).collect();
    let at = out.iter().position(|line| line.trim() == lines[at].trim())?;
    out.insert(at + 1, format!("host_key = \"{key}\""));
    Some(out.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_new_host_key_takes_the_place_of_the_old() {
        let old = "role = \"master\"\n\n[ssh]\n destination = \"a\"\nhost_key = \"x\"\ndevice = \"/dev/sdb\"\n";
        let new = "role = \"master\"\n\n[ssh]\n destination = \"a\"\nhost_key = \"y\"\ndevice = \"/dev/sdb\"\n";
        assert_eq!(super::repinned(old, "a", "y").as_deref(), Some(new));
        assert_eq!(super::repinned(old, "b", "y"), None);
    }
}

//! Machines that run nodes as virtual machines: what one takes until it does (`lap host install`).

use lap_base::error::Result;

use super::{machine::INSTALL, options::Options};
use crate::{
    config::model::Hypervisor,
    drivers::{
        host,
        node::machine::{MachineProbe, sum},
        site::{Input, Site},
    },
    plan::host::{Install, install as plan, packages},
};

/// As root: `$1` is who uses the host, `$2` the hypervisor, then the boot unit's program and the unit, each with its path. May be
/// killed at any moment and run again.
const SETTINGS: &str = r#"
set -eu
put() {
    mkdir -p -- "${1%/*}"
    printf '%s' "$2" >"$1.lap-new"; chmod "$3" "$1.lap-new"; sync "$1.lap-new"; mv -f "$1.lap-new" "$1"
}
if [ "$2" = libvirt ] && [ "$1" != root ]; then usermod -aG libvirt -- "$1"; fi
[ -d /var/lib/lap ] || install -d -o "$1" -m 755 /var/lib/lap
put "$3" "$4" 755
put "$5" "$6" 644
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl --quiet enable lap-nodes.service
    if [ "$2" = libvirt ]; then systemctl --quiet enable --now libvirtd.service; fi
fi"#;

/// A machine that was looked at, and what it takes.
pub struct ExaminedHost {
    site: Site,
    hypervisor: Hypervisor,
    look: MachineProbe,
    pub plan: Install,
}

/// Looks at a machine and plans what makes it a host of nodes. Changes nothing there.
///
/// # Errors
/// It does not answer, or cannot be one.
pub async fn examine(site: Site, hypervisor: Hypervisor) -> Result<ExaminedHost> {
    let look = host::probe_host(&site, &packages(hypervisor)).await?;
    let plan = plan(hypervisor, &look, |text| sum(text.as_bytes()))?;
    Ok(ExaminedHost { site, hypervisor, look, plan })
}

impl ExaminedHost {
    /// Does it. May be killed and done again.
    ///
    /// # Errors
    /// A package cannot be installed, or a file not written.
    pub async fn install(&self, options: &Options) -> Result<()> {
        let root = self.look.as_root().unwrap_or_default();
        if !self.plan.packages.is_empty() {
            options.events.note(format!("installing {}", self.plan.packages.join(", ")));
            let names = self.plan.packages.join("\n");
            let input = Input::Bytes(names.as_bytes());
            self.site.script_as(root, "install packages", INSTALL, &[], input).await?;
        }
        if self.plan.settings {
            let arguments = [
                self.look.get("user"),
                self.hypervisor.name(),
                host::START,
                host::START_TEXT,
                host::UNIT,
                host::UNIT_TEXT,
            ];
            self.site.script_as(root, "set up the host", SETTINGS, &arguments, Input::Bytes(&[])).await?;
        }
        Ok(())
    }
}

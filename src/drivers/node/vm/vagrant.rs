//! How Vagrant is called.

use crate::{
    config::model::Hypervisor,
    drivers::{command::Run, site::Site},
};

pub(super) const MISSING: &str = "`lap host install` installs it";

/// Vagrant for one node's machine.
pub(super) fn vagrant(site: &Site, lab: &str, node: &str, hypervisor: Hypervisor, arguments: &[&str]) -> Run {
    let dir = super::spec::dir(lab, node).display().to_string();
    Run::new("vagrant", arguments.iter().copied())
        .missing(MISSING)
        .at_site(site)
        .variable("VAGRANT_DOTFILE_PATH", format!("{dir}/.vagrant"))
        .variable("VAGRANT_CWD", dir)
        .variable("VAGRANT_DEFAULT_PROVIDER", hypervisor.name())
        .variable("VAGRANT_CHECKPOINT_DISABLE", "1")
}

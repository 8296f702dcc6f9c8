//! The files by which systemd starts the agent and Docker on a machine, in this order.

/// The agent's unit.
pub const UNIT: &str = "/etc/systemd/system/lap-agent.service";

/// What is said to Docker's own unit; the unit stays the distribution's.
pub const DOCKER_UNIT: &str = "/etc/systemd/system/docker.service.d/lap.conf";

/// Modules the pool and Docker need, loaded at boot.
pub const MODULES: &str = "/etc/modules-load.d/lap.conf";

/// The agent is ready when `/data` is mounted and the journal closed; Docker waits for that. What it starts (sshd) stays
/// when it is replaced. It ends with 75 to be started again from a newer binary.
pub const UNIT_TEXT: &str = "\
# Written by `lap`.
[Unit]
Description=lap agent
After=local-fs.target systemd-modules-load.service network.target
Before=docker.service

[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/local/bin/lap agent run
Restart=always
RestartSec=1
SuccessExitStatus=75
KillMode=process
TimeoutStartSec=600
OOMScoreAdjust=-500
LimitNOFILE=65536:524288

[Install]
WantedBy=multi-user.target
";

/// Docker comes after the agent, and comes also when the agent fails: containers that are not lap's need it. lap's own do
/// not start then, since what they mount is not there.
pub const DOCKER_TEXT: &str = "\
# Written by `lap`: containers start when /data is mounted.
[Unit]
Wants=lap-agent.service
After=lap-agent.service
";

/// The content of [`MODULES`].
pub const MODULES_TEXT: &str = "btrfs\nloop\noverlay\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// The unit gives the agent what `agent init` gives it on a `docker` node.
    #[test]
    fn the_unit_gives_enough_descriptors() {
        let limit = UNIT_TEXT.lines().find_map(|line| line.strip_prefix("LimitNOFILE=")).unwrap();
        assert_eq!(limit.split(':').next().unwrap().parse(), Ok(lap_base::descriptors::ENOUGH));
    }
}

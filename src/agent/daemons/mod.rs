//! The two daemons of a node: sshd and dockerd. The agent starts them, finds them again after its own restart, and starts
//! them again when they fall over. Where there is systemd, dockerd is its.

pub mod containerd;
pub mod ports;
pub mod shims;
mod supervise;

pub use supervise::{
    docker_log_tail, docker_pid, dockerd, restart_containerd, restart_docker, sshd, stop, stop_sshd, sweep,
};

//! Starts, replaces and removes containers of an environment.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::{
    Docker,
    models::{
        ContainerCreateBody, HealthConfig, HostConfig, Mount, MountBindOptions, MountType, PortBinding, RestartPolicy,
        RestartPolicyNameEnum,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
        StopContainerOptionsBuilder,
    },
};
use lap_base::error::{Error, Kind, Result};

use crate::{
    binds,
    config::{
        KEYS,
        model::{Container, Healthcheck, NetworkMode, PIDS, Protocol},
    },
    docker::{AGAIN, name_taken},
    wire::{
        labels::{LABEL_CONTAINER, LABEL_SECRETS, LABEL_SPEC},
        paths,
    },
};

/// Between two tries to take a name that is about to become free.
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(300);

/// Where a container finds the certificates it trusts: the node's own and the lab's.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a container is made from beside its own file.
pub struct RunOrder<'a> {
    pub container: &'a Container,
    /// Id or reference by digest, never a name that may move.
    pub image: &'a str,
    pub environment: &'a str,
    pub commit: &'a str,
    /// Digest of `env/<name>`.
    pub env: &'a str,
    pub spec: &'a str,
    pub secrets: &'a str,
    pub node_address: Ipv4Addr,
}

/// `infra_<name>`
pub fn name(container: &str) -> String {
    format!("infra_{container}")
}

/// What Docker is asked to create. Binds are `mount`s of type bind: `-v` would make a missing source up.
pub fn create_body(order: &RunOrder<'_>) -> ContainerCreateBody {
    let container = order.container;
    let bind = |source: String, target: &str, read_only: bool| Mount {
        typ: Some(MountType::BIND),
        source: Some(source),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions { ..MountBindOptions::default() }),
        ..Mount::default()
    };
    let mut mounts = vec![
        bind(format!("{}/{}", paths::DATA, container.name), "/data", false),
        bind(format!("{}/{}", paths::ENV, order.env), "/env", true),
        bind(format!("{}/ca-certificates.crt", paths::TRUST), CERTIFICATES, true),
    ];
    // What may be replaced by a rename while the container runs is seen only through its directory.
    if container.secrets.contains(KEYS) {
        let source = format!("{}/{}", paths::SECRETS, container.name);
        mounts.push(bind(source, &format!("/run/secrets/{}", container.name), true));
    }
    for secret in container.secrets.iter().filter(|secret| *secret != KEYS) {
        let source = format!("{}/{}/{secret}", paths::SECRETS, container.name);
        mounts.push(bind(source, &format!("/run/secrets/{secret}"), true));
    }
    for volume in &container.volumes {
        let source = binds::of(&volume.source).to_string_lossy().into_owned();
        mounts.push(bind(source, &volume.target.to_string_lossy(), volume.read_only));
    }
    let mut exposed = Vec::new();
    let mut bindings = HashMap::new();
    // A container in the node's own network has its ports already.
    for port in container.ports.iter().filter(|_| container.network_mode == NetworkMode::Bridge) {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let key = format!("{}/{protocol}", port.container);
        exposed.push(key.clone());
        let binding = PortBinding {
            host_ip: port.node_only.then(|| "127.0.0.1".to_owned()),
            host_port: Some(port.host.to_string()),
        };
        bindings.entry(key).or_insert_with(|| Some(Vec::new())).get_or_insert_default().push(binding);
    }
    let mut environment: Vec<String> =
        container.environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    environment.push(format!("LAP_ENVIRONMENT={}", order.environment));
    environment.push(format!("LAP_NODE_ADDRESS={}", order.node_address));
    let labels = [
        (LABEL_CONTAINER, container.name.as_str()),
        ("lap.env", order.environment),
        ("lap.commit", order.commit),
        (LABEL_SPEC, order.spec),
        (LABEL_SECRETS, order.secrets),
    ];
    let list = |set: &std::collections::BTreeSet<String>| -> Option<Vec<String>> {
        (!set.is_empty()).then(|| set.iter().cloned().collect())
    };
    ContainerCreateBody {
        image: Some(order.image.to_owned()),
        hostname: (container.network_mode == NetworkMode::Bridge)
            .then(|| container.hostname.clone().unwrap_or_else(|| container.name.clone())),
        cmd: container.command.clone(),
        entrypoint: container.entrypoint.clone(),
        user: container.user.clone(),
        env: Some(environment),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        exposed_ports: Some(exposed),
        healthcheck: container.healthcheck.as_ref().map(health),
        stop_signal: container.stop_signal.clone(),
        stop_timeout: Some(container.stop_grace_period.as_secs().cast_signed()),
        host_config: Some(HostConfig {
            mounts: Some(mounts),
            port_bindings: Some(bindings),
            network_mode: Some(
                match container.network_mode {
                    NetworkMode::Bridge => "bridge",
                    NetworkMode::Host => "host",
                }
                .to_owned(),
            ),
            cap_add: list(&container.cap_add),
            cap_drop: list(&container.cap_drop),
            security_opt: (!container.security_opt.is_empty()).then(|| container.security_opt.clone()),
            privileged: Some(container.privileged),
            readonly_rootfs: Some(container.read_only),
            tmpfs: Some(container.tmpfs.iter().map(|entry| tmpfs(entry)).collect()),
            memory: container.mem_limit.map(u64::cast_signed),
            pids_limit: Some(i64::from(container.pids_limit.unwrap_or(PIDS))),
            nano_cpus: container.cpus.map(|cpus| (cpus * 1e9) as i64),
            init: Some(container.init),
            // `always` would bring a release back that was stopped on purpose.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
                ..RestartPolicy::default()
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// `/path[:options]`
fn tmpfs(entry: &str) -> (String, String) {
    let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
    (path.to_owned(), options.to_owned())
}

fn health(check: &Healthcheck) -> HealthConfig {
    let nanoseconds = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    HealthConfig {
        test: Some(check.test.clone()),
        interval: Some(nanoseconds(check.interval)),
        timeout: Some(nanoseconds(check.timeout)),
        retries: Some(i64::from(check.retries)),
        start_period: Some(nanoseconds(check.start_period)),
        ..HealthConfig::default()
    }
}

/// Creates and starts a container; one of that name is stopped and removed first.
///
/// # Errors
/// Docker refuses.
pub async fn run(docker: &Docker, order: &RunOrder<'_>) -> Result<()> {
    let name = name(&order.container.name);
    for attempt in 1.. {
        remove(docker, &order.container.name).await?;
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        match docker.create_container(Some(options), create_body(order)).await {
            Ok(_) => break,
            Err(error) if attempt < AGAIN && name_taken(&error) => tokio::time::sleep(BETWEEN).await,
            Err(error) => return Err(failed("create", order, &error)),
        }
    }
    for attempt in 1.. {
        match docker.start_container(&name, None::<StartContainerOptions>).await {
            Ok(()) => break,
            Err(error) if attempt < AGAIN && port_taken(&error) => tokio::time::sleep(BETWEEN).await,
            Err(error) => return Err(failed("start", order, &error)),
        }
    }
    Ok(())
}

/// A dockerd that comes back after a power cut still takes the endpoints of what it finds dead apart: its ports are free a
/// moment later.
fn port_taken(error: &bollard::errors::Error) -> bool {
    error.to_string().contains("port is already allocated")
}

/// Stops a container in its grace period and removes it. One that is not there is removed.
///
/// # Errors
/// Docker refuses.
pub async fn remove(docker: &Docker, container: &str) -> Result<()> {
    let name = name(container);
    let refused = |error: bollard::errors::Error| node_failed(&format!("cannot remove `{container}`"), &error);
    match docker.stop_container(&name, Some(StopContainerOptionsBuilder::new().build())).await {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(()),
        Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 304, .. }) => {}
        Err(error) => return Err(refused(error)),
    }
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    match docker.remove_container(&name, Some(options)).await {
        Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

fn failed(verb: &str, order: &RunOrder<'_>, error: &bollard::errors::Error) -> Error {
    node_failed(&format!("cannot {verb} `{}`", order.container.name), error)
}

/// An error of a node's Docker that names its object. One that says the lock is lost keeps its kind.
pub fn node_failed(what: &str, error: &bollard::errors::Error) -> Error {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code: 423, message } => {
            Error::new(Kind::Locked, format!("{what}: {message}"))
                .hint("run the command again: it continues from the present state of the node")
        }
        bollard::errors::Error::DockerResponseServerError { message, .. } => {
            let error = Error::new(Kind::Node, format!("{what}: {message}"));
            if message.contains("no space left") {
                error.hint("the node's disk is full: `lap status` shows its size")
            } else {
                error
            }
        }
        other => Error::new(Kind::Node, format!("{what}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Port, Volume};

    fn container() -> Container {
        let mut container = Container::new("git");
        container.ports = vec![Port { host: 2200, container: 22, protocol: Protocol::Tcp, node_only: false }];
        container.secrets = ["admin.pub".to_owned()].into();
        container.cap_drop = ["ALL".to_owned()].into();
        container
    }

    fn body(container: &Container) -> ContainerCreateBody {
        create_body(&RunOrder {
            container,
            image: "sha256:1",
            environment: "test",
            commit: "abc",
            env: "e1",
            spec: "s1",
            secrets: "x1",
            node_address: Ipv4Addr::new(10, 86, 0, 10),
        })
    }

    #[test]
    fn a_container_sees_its_own_data_and_nothing_else() {
        let host = body(&container()).host_config.unwrap();
        let mounts: Vec<_> = host
            .mounts
            .unwrap()
            .into_iter()
            .map(|m| (m.source.unwrap(), m.target.unwrap(), m.read_only.unwrap()))
            .collect();
        let row = |source: &str, target: &str, read_only| (source.to_owned(), target.to_owned(), read_only);
        assert_eq!(
            mounts,
            [
                row("/data/git", "/data", false),
                row("/var/lib/lap/env/e1", "/env", true),
                row("/var/lib/lap/trust/ca-certificates.crt", CERTIFICATES, true),
                row("/var/lib/lap/secrets/git/admin.pub", "/run/secrets/admin.pub", true),
            ]
        );
        assert_eq!(host.privileged, Some(false));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::UNLESS_STOPPED));
    }

    #[test]
    fn a_container_has_a_limit_of_processes() {
        let limit = |container: &Container| body(container).host_config.unwrap().pids_limit;
        assert_eq!(limit(&container()), Some(4096));
        assert_eq!(limit(&Container { pids_limit: Some(64), ..container() }), Some(64));
    }

    /// Docker follows links in the source of a mount: what lies in the data of a container is mounted by the agent.
    #[test]
    fn a_source_in_the_data_of_a_container_is_a_place_of_laps_own() {
        let mut container = Container::new("web");
        let volume = |source: &str| Volume { source: source.into(), target: "/x".into(), read_only: true };
        container.volumes = ["/data/web/files", "/data/git", "/srv/files"].map(volume).into();
        let mounts = body(&container).host_config.unwrap().mounts.unwrap();
        let sources: Vec<_> = mounts.iter().rev().take(3).rev().map(|mount| mount.source.as_deref().unwrap()).collect();
        assert_eq!(sources, ["/var/lib/lap/binds/web%2Ffiles/at", "/data/git", "/srv/files"]);
    }

    #[test]
    fn keys_that_change_are_seen_through_their_directory() {
        let mut container = Container::new("dns");
        container.secrets = ["keys.json".to_owned()].into();
        let mounts = body(&container).host_config.unwrap().mounts.unwrap();
        let last = mounts.last().unwrap();
        assert_eq!(last.source.as_deref(), Some("/var/lib/lap/secrets/dns"));
        assert_eq!((last.target.as_deref(), last.read_only), (Some("/run/secrets/dns"), Some(true)));
    }

    #[test]
    fn labels_say_what_it_was_made_from() {
        let labels = body(&container()).labels.unwrap();
        for (key, value) in [("lap.container", "git"), ("lap.env", "test"), ("lap.spec", "s1"), ("lap.secrets", "x1")] {
            assert_eq!(labels[key], value);
        }
    }

    #[test]
    fn a_port_for_the_node_alone_is_bound_to_its_loopback_address() {
        let mut container = container();
        let port = |host, node_only| Port { host, container: host, protocol: Protocol::Tcp, node_only };
        container.ports = vec![port(5000, false), port(5001, true)];
        let bindings = body(&container).host_config.unwrap().port_bindings.unwrap();
        let address = |key: &str| bindings[key].as_ref().unwrap()[0].host_ip.as_deref();
        assert_eq!((address("5000/tcp"), address("5001/tcp")), (None, Some("127.0.0.1")));
    }

    #[test]
    fn a_container_in_the_nodes_network_binds_itself() {
        let mut container = container();
        container.network_mode = NetworkMode::Host;
        let body = body(&container);
        assert_eq!(body.host_config.unwrap().port_bindings, Some(HashMap::new()));
        assert_eq!(body.hostname, None);
    }
}

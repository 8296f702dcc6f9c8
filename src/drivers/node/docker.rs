//! The `docker` provider: a container with its own dockerd and sshd and a fixed address on the lab's bridge.
//!
//! What belongs to whom is written in labels and names, never in a file: `lap.lab`, `lap.node`, `lap.spec`.
//!
//! Such a node is **not a security border**: who may start containers on it is root on this machine. Its rights are
//! as narrow as an inner Docker Engine allows: no `--privileged`, and of the host's devices only loop (the pool's
//! image) and tun.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
    path::Path,
};

use bollard::{
    Docker,
    models::{
        ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigCgroupnsModeEnum, Ipam,
        IpamConfig, Mount, MountType, NetworkCreateRequest, NetworkingConfig, PortBinding, RestartPolicy,
        RestartPolicyNameEnum,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions,
        ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptions, ListVolumesOptions,
        RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
        UploadToContainerOptionsBuilder,
    },
};
use futures_util::TryStreamExt;
use lap_base::{
    cgroups::Cgroups,
    error::{Kind, OrError, Result},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::state::NodeState;
use crate::{
    config::model::{Port, Subnet},
    docker::{AGAIN, failed, name_taken},
    wire::paths,
};

/// Between two tries to take a name that is about to become free.
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(300);

/// The label that says whose it is.
pub const LABEL_LAB: &str = "lap.lab";
/// The label with a node's name.
pub const LABEL_NODE: &str = "lap.node";
/// The label with the hash of the desired state it was made from.
pub const LABEL_SPEC: &str = "lap.spec";

/// Everything one node container is made from.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct DockerSpec {
    pub lab: String,
    pub node: String,
    /// `lap/node:<identity>`
    pub image: String,
    pub address: Ipv4Addr,
    pub cpus: Option<f64>,
    pub memory: Option<u64>,
    /// An address of this machine, and the ports that are mapped to it.
    pub publish: Option<(Ipv4Addr, BTreeSet<Port>)>,
    /// This machine's control groups.
    pub v2: bool,
}

/// What this machine's Docker says about the lab.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// The lab's network, if it was made.
    pub subnet: Option<Subnet>,
    /// By name.
    pub nodes: BTreeMap<String, NodeState>,
    /// Tags of `lap/node`.
    pub images: BTreeSet<String>,
    /// Networks that exist on this machine: a new one must not overlap.
    pub taken: Vec<Subnet>,
    /// This machine's control groups are v2.
    pub v2: bool,
    /// What it has for virtual machines.
    pub vm: super::vm::VmFacts,
}

/// The container's name on this machine.
pub fn container_name(lab: &str, node: &str) -> String {
    format!("lap-{lab}-{node}")
}

/// The network's name on this machine.
pub fn network_name(lab: &str) -> String {
    format!("lap-{lab}")
}

/// The node's two volumes: Docker's own data (overlay on overlay does not work), and lap's with the pool.
pub fn volume_names(lab: &str, node: &str) -> [String; 2] {
    ["docker", "lap"].map(|volume| format!("lap-{lab}-{node}-{volume}"))
}

/// Identity of a desired state: a node whose label differs is made anew (its volumes stay).
pub fn spec_identity(spec: &DockerSpec) -> String {
    let text = serde_json::to_string(spec).unwrap_or_default();
    hex::encode(&Sha256::digest(text.as_bytes())[..16])
}

/// What Docker is asked to create.
pub fn create_body(spec: &DockerSpec) -> ContainerCreateBody {
    let volumes = volume_names(&spec.lab, &spec.node);
    let mount = |name: &str, target: &str| Mount {
        typ: Some(MountType::VOLUME),
        source: Some(name.to_owned()),
        target: Some(target.to_owned()),
        ..Mount::default()
    };
    let mut mounts = vec![mount(&volumes[0], "/var/lib/docker"), mount(&volumes[1], paths::HOME)];
    let cgroups = if spec.v2 {
        HostConfigCgroupnsModeEnum::PRIVATE
    } else {
        // v1 has no delegation: inner groups are made in the host's tree, below the node's own.
        mounts.push(Mount {
            typ: Some(MountType::BIND),
            source: Some("/sys/fs/cgroup".into()),
            target: Some("/sys/fs/cgroup".into()),
            ..Mount::default()
        });
        HostConfigCgroupnsModeEnum::HOST
    };
    let mut exposed = Vec::new();
    let mut bindings = HashMap::new();
    for (address, port) in
        spec.publish.iter().flat_map(|(address, ports)| ports.iter().map(move |port| (address, port)))
    {
        let key = format!("{}/{}", port.host, protocol(port));
        exposed.push(key.clone());
        let binding = PortBinding { host_ip: Some(address.to_string()), host_port: Some(port.host.to_string()) };
        bindings.insert(key, Some(vec![binding]));
    }
    let labels = [(LABEL_LAB, &spec.lab), (LABEL_NODE, &spec.node), (LABEL_SPEC, &spec_identity(spec))]
        .map(|(key, value)| (key.to_owned(), value.clone()));
    let ipam = EndpointIpamConfig { ipv4_address: Some(spec.address.to_string()), ..EndpointIpamConfig::default() };
    let endpoint = EndpointSettings { ipam_config: Some(ipam), ..EndpointSettings::default() };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        hostname: Some(spec.node.clone()),
        cmd: Some([paths::BINARY, "agent", "init"].map(str::to_owned).into()),
        labels: Some(labels.into()),
        exposed_ports: Some(exposed),
        // Its containers need their own grace period first.
        stop_timeout: Some(120),
        host_config: Some(HostConfig {
            cap_add: Some(vec!["ALL".into()]),
            // The daemon itself may lack it, and would refuse to give it.
            cap_drop: Some(vec!["SYS_RESOURCE".into()]),
            security_opt: Some(["seccomp=unconfined", "apparmor=unconfined"].map(str::to_owned).into()),
            // What `--security-opt systempaths=unconfined` means in the API.
            masked_paths: Some(Vec::new()),
            readonly_paths: Some(Vec::new()),
            device_cgroup_rules: Some(["b 7:* rwm", "c 10:237 rwm", "c 10:200 rwm"].map(str::to_owned).into()),
            cgroupns_mode: Some(cgroups),
            mounts: Some(mounts),
            network_mode: Some(network_name(&spec.lab)),
            port_bindings: Some(bindings),
            nano_cpus: spec.cpus.map(|cpus| (cpus * 1e9) as i64),
            memory: spec.memory.map(u64::cast_signed),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
                ..RestartPolicy::default()
            }),
            ..HostConfig::default()
        }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network_name(&spec.lab), endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}

fn protocol(port: &Port) -> &'static str {
    match port.protocol {
        crate::config::model::Protocol::Tcp => "tcp",
        crate::config::model::Protocol::Udp => "udp",
    }
}

/// Looks at this machine: the lab's network and nodes, and what a new network must keep away from.
///
/// # Errors
/// Docker does not answer.
pub async fn observe(docker: &Docker, lab: &str) -> Result<HostFacts> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL_LAB}={lab}")])]);
    let containers = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let references = HashMap::from([("reference".to_owned(), vec!["lap/node".to_owned()])]);
    let images = ListImagesOptionsBuilder::new().filters(&references).build();
    let (containers, networks, images) = tokio::join!(
        docker.list_containers(Some(containers)),
        docker.list_networks(None::<ListNetworksOptions>),
        docker.list_images(Some(images)),
    );
    let mut facts = HostFacts {
        v2: lap_base::cgroups::cgroups() == Cgroups::V2,
        taken: routes(),
        images: images
            .map_err(|e| failed("cannot list images", &e))?
            .into_iter()
            .flat_map(|image| image.repo_tags)
            .collect(),
        ..HostFacts::default()
    };
    for network in networks.map_err(|e| failed("cannot list networks", &e))? {
        let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let subnets: Vec<Subnet> = configs.into_iter().filter_map(|c| parse_subnet(&c.subnet?)).collect();
        let ours = network.labels.is_some_and(|labels| labels.get(LABEL_LAB).is_some_and(|of| of == lab));
        if ours && network.name.is_some_and(|name| name == network_name(lab)) {
            facts.subnet = subnets.first().copied();
        } else {
            facts.taken.extend(subnets);
        }
    }
    for summary in containers.map_err(|e| failed("cannot list containers", &e))? {
        let labels = summary.labels.unwrap_or_default();
        let Some(node) = labels.get(LABEL_NODE) else { continue };
        let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks.get(&network_name(lab)).and_then(|endpoint| {
            let wished = endpoint.ipam_config.as_ref().and_then(|ipam| ipam.ipv4_address.clone());
            wished.or_else(|| endpoint.ip_address.clone()).and_then(|text| text.parse().ok())
        });
        let state = summary.state.map(|state| state.to_string()).unwrap_or_default();
        facts.nodes.insert(
            node.clone(),
            NodeState {
                running: state == "running",
                state,
                spec: labels.get(LABEL_SPEC).cloned().unwrap_or_default(),
                address,
                created: summary.created.unwrap_or_default(),
            },
        );
    }
    Ok(facts)
}

/// This machine's routes (proc_net(5), `/proc/net/route`): addresses in hex, bytes in memory order.
pub fn routes() -> Vec<Subnet> {
    let text = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    text.lines().skip(1).filter_map(parse_route).collect()
}

fn parse_subnet(text: &str) -> Option<Subnet> {
    let (base, prefix) = text.split_once('/')?;
    Some(Subnet { base: base.parse().ok()?, prefix: prefix.parse().ok()? })
}

fn parse_route(line: &str) -> Option<Subnet> {
    let mut columns = line.split_whitespace();
    let base = u32::from_str_radix(columns.nth(1)?, 16).ok()?.swap_bytes();
    let mask = u32::from_str_radix(columns.nth(5)?, 16).ok()?.swap_bytes();
    // The default route overlaps everything and forbids nothing.
    (mask != 0).then(|| Subnet { base: Ipv4Addr::from(base), prefix: mask.count_ones() as u8 })
}

/// Makes the image of nodes from a root file system, with the binary that is always the same left out.
///
/// # Errors
/// The archive cannot be read, or Docker refuses it.
pub async fn make_image(docker: &Docker, archive: &Path, tag: &str) -> Result<()> {
    let (repo, version) = tag.split_once(':').unwrap_or((tag, "latest"));
    let file =
        tokio::fs::File::open(archive).await.or_error(Kind::Host, || format!("cannot open `{}`", archive.display()))?;
    let body = futures_util::stream::try_unfold(file, |mut file| async move {
        use tokio::io::AsyncReadExt;
        let mut chunk = bytes::BytesMut::with_capacity(1 << 20);
        let got = file.read_buf(&mut chunk).await?;
        Ok::<_, std::io::Error>((got > 0).then(|| (chunk.freeze(), file)))
    });
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(repo).tag(version).build();
    docker
        .create_image(Some(options), Some(bollard::body_try_stream(body)), None)
        .try_collect::<Vec<_>>()
        .await
        .map(|_| ())
        .map_err(|e| failed(&format!("cannot make the image `{tag}`"), &e))
}

/// Makes the lab's bridge.
///
/// # Errors
/// Docker refuses: the message says why (another network has that range).
pub async fn make_network(docker: &Docker, lab: &str, subnet: Subnet) -> Result<()> {
    let name = network_name(lab);
    let config = IpamConfig { subnet: Some(subnet.to_string()), ..IpamConfig::default() };
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".into()),
        labels: Some(HashMap::from([(LABEL_LAB.to_owned(), lab.to_owned())])),
        ipam: Some(Ipam { config: Some(vec![config]), ..Ipam::default() }),
        ..NetworkCreateRequest::default()
    };
    for attempt in 1.. {
        let Err(error) = docker.create_network(request.clone()).await else { return Ok(()) };
        // A `lap` that was killed may have asked for it just before: Docker has made it since we looked, or is at it.
        if observe(docker, lab).await?.subnet == Some(subnet) {
            return Ok(());
        }
        if attempt == AGAIN {
            return Err(failed(&format!("cannot make the network `{name}` ({subnet})"), &error)
                .hint("set another range with `[network] subnet` in lap.toml"));
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}

/// Creates the node's container (not started) and puts `files` (a tar of absolute paths without the first `/`) into it.
/// An older container of the name is removed first: its volumes hold all that must stay.
///
/// # Errors
/// Docker refuses.
pub async fn create(docker: &Docker, spec: &DockerSpec, files: Vec<u8>) -> Result<()> {
    let name = container_name(&spec.lab, &spec.node);
    let what = format!("cannot create the node `{}`", spec.node);
    for attempt in 1.. {
        remove(docker, &spec.lab, &spec.node).await?;
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        match docker.create_container(Some(options), create_body(spec)).await {
            Ok(_) => break,
            Err(error) if attempt < AGAIN && name_taken(&error) => tokio::time::sleep(BETWEEN).await,
            Err(error) => return Err(failed(&what, &error)),
        }
    }
    upload(docker, &spec.lab, &spec.node, files).await
}

/// Puts files into a node's container, running or not.
///
/// # Errors
/// Docker refuses.
pub async fn upload(docker: &Docker, lab: &str, node: &str, files: Vec<u8>) -> Result<()> {
    let options = UploadToContainerOptionsBuilder::new().path("/").build();
    docker
        .upload_to_container(&container_name(lab, node), Some(options), bollard::body_full(files.into()))
        .await
        .map_err(|e| failed(&format!("cannot put files into the node `{node}`"), &e))
}

/// Starts the node's container; nothing if it runs.
///
/// # Errors
/// Docker refuses: a published port may be taken.
pub async fn start(docker: &Docker, lab: &str, node: &str) -> Result<()> {
    docker
        .start_container(&container_name(lab, node), None::<StartContainerOptions>)
        .await
        .map_err(|e| failed(&format!("cannot start the node `{node}`"), &e))
}

/// Stops the node: its agent stops Docker, and that the containers, each in peace.
///
/// # Errors
/// Docker refuses. A node that is not there is stopped.
pub async fn stop(docker: &Docker, lab: &str, node: &str) -> Result<()> {
    let options = StopContainerOptionsBuilder::new().t(120).build();
    gone_is_fine(docker.stop_container(&container_name(lab, node), Some(options)).await)
        .map_err(|e| failed(&format!("cannot stop the node `{node}`"), &e))
}

/// Removes the node's container. Its volumes, and so its data, stay.
///
/// # Errors
/// Docker refuses. A node that is not there is removed.
pub async fn remove(docker: &Docker, lab: &str, node: &str) -> Result<()> {
    let name = container_name(lab, node);
    let running = docker.inspect_container(&name, None::<InspectContainerOptions>).await.ok();
    if running.and_then(|c| c.state).and_then(|state| state.running) == Some(true) {
        stop(docker, lab, node).await?;
    }
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    gone_is_fine(docker.remove_container(&name, Some(options)).await)
        .map_err(|e| failed(&format!("cannot remove the node `{node}`"), &e))
}

/// Removes the node's volumes: all its data.
///
/// # Errors
/// Docker refuses. A volume that is not there is removed.
pub async fn remove_data(docker: &Docker, lab: &str, node: &str) -> Result<()> {
    for volume in volume_names(lab, node) {
        let options = RemoveVolumeOptionsBuilder::new().force(true).build();
        gone_is_fine(docker.remove_volume(&volume, Some(options)).await)
            .map_err(|e| failed(&format!("cannot remove the volume `{volume}`"), &e))?;
    }
    Ok(())
}

/// The names of the volumes of the lab's nodes.
///
/// # Errors
/// Docker does not answer.
pub async fn volumes(docker: &Docker, lab: &str) -> Result<BTreeSet<String>> {
    let list = docker.list_volumes(None::<ListVolumesOptions>).await;
    let list = list.map_err(|e| failed("cannot list volumes", &e))?;
    let prefix = format!("lap-{lab}-");
    Ok(list.volumes.unwrap_or_default().into_iter().map(|v| v.name).filter(|name| name.starts_with(&prefix)).collect())
}

/// Removes the lab's bridge.
///
/// # Errors
/// Docker refuses: something is still connected.
pub async fn remove_network(docker: &Docker, lab: &str) -> Result<()> {
    let name = network_name(lab);
    gone_is_fine(docker.remove_network(&name).await)
        .map_err(|e| failed(&format!("cannot remove the network `{name}`"), &e))
}

fn gone_is_fine(
    result: std::result::Result<(), bollard::errors::Error>,
) -> std::result::Result<(), bollard::errors::Error> {
    match result {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 304, .. }) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> DockerSpec {
        DockerSpec {
            lab: "office".into(),
            node: "test".into(),
            image: "lap/node:1".into(),
            address: Ipv4Addr::new(10, 86, 3, 10),
            cpus: None,
            memory: Some(1 << 30),
            publish: None,
            v2: false,
        }
    }

    #[test]
    fn a_node_has_no_more_rights_than_it_needs() {
        let host = create_body(&spec()).host_config.unwrap();
        assert_eq!(host.privileged, None);
        assert_eq!(host.cap_drop, Some(vec!["SYS_RESOURCE".into()]));
        assert_eq!(host.devices, None);
        assert_eq!(
            host.device_cgroup_rules,
            Some(vec!["b 7:* rwm".into(), "c 10:237 rwm".into(), "c 10:200 rwm".into()])
        );
        let binds: Vec<_> =
            host.mounts.unwrap().into_iter().filter(|m| m.typ == Some(MountType::BIND)).map(|m| m.source).collect();
        assert_eq!(binds, [Some("/sys/fs/cgroup".to_owned())]);
        let v2 = create_body(&DockerSpec { v2: true, ..spec() }).host_config.unwrap();
        assert!(v2.mounts.unwrap().iter().all(|m| m.typ == Some(MountType::VOLUME)));
        assert_eq!(v2.cgroupns_mode, Some(HostConfigCgroupnsModeEnum::PRIVATE));
    }

    #[test]
    fn ports_are_published_only_where_it_was_asked_for() {
        assert_eq!(create_body(&spec()).host_config.unwrap().port_bindings, Some(HashMap::new()));
        let port = Port { host: 2200, container: 22, protocol: crate::config::model::Protocol::Tcp, node_only: false };
        let spec = DockerSpec { publish: Some((Ipv4Addr::LOCALHOST, [port].into())), ..spec() };
        let bindings = create_body(&spec).host_config.unwrap().port_bindings.unwrap();
        let binding = bindings["2200/tcp"].as_ref().unwrap()[0].clone();
        assert_eq!((binding.host_ip.as_deref(), binding.host_port.as_deref()), (Some("127.0.0.1"), Some("2200")));
    }

    #[test]
    fn every_wish_has_its_identity() {
        assert_ne!(spec_identity(&spec()), spec_identity(&DockerSpec { v2: true, ..spec() }));
        assert_eq!(spec_identity(&spec()), spec_identity(&spec()));
    }

    #[test]
    fn routes_are_read() {
        let line = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        let subnet = parse_route(line).unwrap();
        assert_eq!((subnet.base, subnet.prefix), (Ipv4Addr::new(192, 0, 2, 0), 24));
        assert!(parse_route("eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0").is_none());
    }
}

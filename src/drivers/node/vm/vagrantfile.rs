//! What Vagrant has to know about a machine, as a person would write it. Pure.

use std::path::Path;

use super::{libvirt::POOL, spec::VmSpec};
use crate::config::model::Hypervisor;

/// A Vagrantfile. `key`: the private key with which Vagrant itself logs in to a machine of lap's own box; `own`: a hand-written one,
/// whose word counts.
pub fn text(spec: &VmSpec, key: &Path, own: Option<&Path>, accelerated: bool) -> String {
    let head = format!(
        "# The node `{node}` of the lab `{lab}`: `lap` writes this from nodes/{node}/node.toml whenever that changes.\n\
         # A nodes/{node}/Vagrantfile of your own is read after it: what it says counts.\n\
         Vagrant.configure(\"2\") do |config|\n\
         \x20 config.vm.define {node:?}\n\
         {image}\
         \x20 config.vm.box_check_update = false\n\
         \x20 config.vm.boot_timeout = {boot} # lap's own patience ends before\n\
         \x20 config.vm.synced_folder \".\", \"/vagrant\", disabled: true\n\
         \x20 config.vm.graceful_halt_timeout = 150 # containers have their own time to stop\n\
         {login}",
        node = spec.node,
        lab = spec.lab,
        image = image(spec),
        boot = super::spec::boot(accelerated).as_secs() + 60,
        login = login(spec, key),
    );
    let middle = match spec.hypervisor {
        Hypervisor::Libvirt => libvirt(spec, accelerated, own.is_none()),
        Hypervisor::Virtualbox => virtualbox(spec),
    };
    let tail = own.map(|path| {
        let last = (spec.hypervisor == Hypervisor::Libvirt).then(|| {
            format!(
                "# vagrant-libvirt (0.11) can put what two files say together only if the serial port comes last.\n\
                 Vagrant.configure(\"2\") do |config|\n\
                 \x20 config.vm.provider :libvirt do |vm|\n{}\
                 \x20 end\nend\n",
                serial(spec)
            )
        });
        // Who removed it can still stop the machine, and remove it.
        format!("own = {:?}\nload own if File.exist?(own)\n{}", path.display().to_string(), last.unwrap_or_default())
    });
    format!("{head}{middle}end\n{}", tail.unwrap_or_default())
}

/// Where the machine's console goes, for who asks why it does not come up.
fn serial(spec: &VmSpec) -> String {
    let console = spec.dir().join("console.log").display().to_string();
    format!("    vm.serial type: \"file\", source: {{ path: {console:?} }}\n")
}

/// What the machine is made from.
fn image(spec: &VmSpec) -> String {
    let name = super::spec::box_name(spec);
    match &spec.foreign {
        None => format!("  config.vm.box = {name:?}\n  config.vm.guest = :debian\n"),
        Some(foreign) => {
            let version = foreign.version.iter().map(|version| format!("  config.vm.box_version = {version:?}\n"));
            format!("  config.vm.box = {name:?}\n{}", version.collect::<String>())
        }
    }
}

/// How Vagrant itself logs in.
fn login(spec: &VmSpec, key: &Path) -> String {
    if spec.foreign.is_some() {
        return "  # As its box says. Vagrant puts a key of its own in the place of the one that everybody has, and lap takes care that\n\
                \x20 # nothing else that comes with the box opens the machine.\n\
                \x20 config.ssh.insert_key = true\n"
            .to_owned();
    }
    format!(
        "  # lap made the machine's keys before its first start: no password, and no key that others know.\n\
         \x20 config.ssh.username = \"root\"\n\
         \x20 config.ssh.private_key_path = {:?}\n\
         \x20 config.ssh.insert_key = false\n\
         \x20 config.ssh.sudo_command = \"%c\" # root is root\n",
        key.display().to_string()
    )
}

/// The second card, in the office's network. lap's own box knows its address from the seed, others' from Vagrant.
fn bridged(spec: &VmSpec, bridge: &str) -> String {
    let how = match (&spec.foreign, spec.address) {
        (Some(_), Some(address)) => format!("ip: \"{address}\", netmask: \"{}\"", netmask(spec)),
        _ => "auto_config: false".to_owned(),
    };
    let mac = spec.mac(1);
    format!("  config.vm.network :public_network, dev: {bridge:?}, type: \"bridge\", mac: {mac:?}, {how}\n")
}

fn netmask(spec: &VmSpec) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from(u32::MAX.checked_shl(u32::from(32 - spec.prefix)).unwrap_or(0))
}

fn libvirt(spec: &VmSpec, accelerated: bool, alone: bool) -> String {
    let dir = spec.dir();
    let file = |name: &str| dir.join(name).display().to_string();
    let (driver, cpu) = if accelerated { ("kvm", "host-passthrough") } else { ("qemu", "maximum") };
    let network = spec.bridge.as_ref().map(|bridge| bridged(spec, bridge)).unwrap_or_default();
    let management = spec.network().filter(|_| spec.bridge.is_none()).map(|network| {
        format!(
            "    vm.management_network_name = {:?}\n    vm.management_network_address = \"{network}\"\n    \
             vm.management_network_keep = true\n",
            super::libvirt::network_name(&spec.lab),
        )
    });
    let management = management.unwrap_or_default();
    format!(
        "{network}\x20 config.vm.provider :libvirt do |vm|\n\
         \x20   vm.uri = {uri:?}\n\
         \x20   vm.driver = {driver:?}\n\
         \x20   vm.cpu_mode = {cpu:?}\n\
         \x20   vm.default_prefix = {prefix:?}\n\
         \x20   vm.title = {title:?}\n\
         \x20   vm.cpus = {cpus}\n\
         \x20   vm.memory = {memory}\n\
         \x20   vm.autostart = true # comes back after a power cut\n\
         \x20   vm.graphics_type = \"none\"\n\
         {serial}\
         \x20   vm.management_network_mac = {mac:?}\n\
         {management}\
         \x20   vm.storage_pool_name = {pool:?}\n\
         {line}{seed}\
         \x20   vm.storage :file, path: {disk:?}, type: \"qcow2\", size: \"{size}M\", serial: \"lap-data\", allow_existing: true\n\
         \x20 end\n",
        uri = super::libvirt::URI,
        prefix = format!("lap-{}-", spec.lab),
        title = format!("lap: {} of {}", spec.node, spec.lab),
        cpus = spec.cpus,
        memory = spec.memory >> 20,
        serial = if alone { serial(spec) } else { String::new() },
        mac = spec.mac(0),
        pool = POOL,
        line = match (&spec.bridge, &spec.foreign) {
            (Some(_), None) => {
                "    # Over this the machine says which address it has in the office's network.\n    \
                 vm.channel type: \"unix\", target_type: \"virtio\", target_name: \"org.qemu.guest_agent.0\"\n"
            }
            _ => "",
        },
        seed = match spec.foreign {
            None => format!(
                "    # Who the machine is; and its data, on a disk that Vagrant did not make and does not remove.\n\
                 \x20   vm.storage :file, device: :cdrom, path: {:?}\n",
                file("seed.iso")
            ),
            Some(_) => "    # Its data, on a disk that Vagrant did not make and does not remove.\n".to_owned(),
        },
        disk = super::libvirt::disk_name(&spec.lab, &spec.node),
        size = spec.disk >> 20,
    )
}

fn virtualbox(spec: &VmSpec) -> String {
    let dir = spec.dir();
    let file = |name: &str| dir.join(name).display().to_string();
    let mac = spec.mac(1).replace(':', "").to_uppercase();
    let network = match &spec.bridge {
        Some(bridge) => format!(":public_network, bridge: {bridge:?}, mac: {mac:?}, auto_config: false"),
        None => format!(
            ":private_network, ip: \"{}\", netmask: \"{}\", mac: {mac:?}, auto_config: false",
            spec.address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
            netmask(spec)
        ),
    };
    let attach = |kind: &str, port: u8, medium: &str| {
        format!(
            "    vm.customize [\"storageattach\", :id, \"--storagectl\", \"sataController0\", \"--port\", \"{port}\", \
             \"--device\", \"0\", \"--type\", {kind:?}, \"--medium\", {medium:?}]\n"
        )
    };
    format!(
        "\x20 config.vm.network {network}\n\
         \x20 config.vm.provider :virtualbox do |vm|\n\
         \x20   vm.name = {name:?}\n\
         \x20   vm.cpus = {cpus}\n\
         \x20   vm.memory = {memory}\n\
         \x20   vm.gui = false\n\
         \x20   vm.check_guest_additions = false\n\
         \x20   vm.customize [\"modifyvm\", :id, \"--uart1\", \"0x3F8\", \"4\", \"--uartmode1\", \"file\", {console:?}]\n\
         \x20   # Who the machine is; and its data, on a disk that Vagrant did not make and does not remove.\n\
         \x20   vm.customize [\"storagectl\", :id, \"--name\", \"sataController0\", \"--portcount\", \"3\"]\n\
         {data}\
         \x20   vm.customize [\"setextradata\", :id, \"VBoxInternal/Devices/ahci/0/Config/Port1/SerialNumber\", \"lap-data\"]\n\
         {seed}\
         \x20 end\n",
        name = spec.domain(),
        cpus = spec.cpus,
        memory = spec.memory >> 20,
        console = file("console.log"),
        data = attach("hdd", 1, &file("data.vdi")),
        seed = attach("dvddrive", 2, &file("seed.iso")),
    )
}

#[cfg(test)]
mod tests {
    use super::{super::tests::spec, *};
    use crate::{config::model::ForeignBox, drivers::node::vm::spec::VmSpec};

    #[test]
    fn a_libvirt_machine_reads_like_this() {
        let text = text(&spec(Hypervisor::Libvirt), Path::new("/w/.lap/keys/admin"), None, true);
        assert_eq!(
            text,
            r##"# The node `prod` of the lab `office`: `lap` writes this from nodes/prod/node.toml whenever that changes.
# A nodes/prod/Vagrantfile of your own is read after it: what it says counts.
Vagrant.configure("2") do |config|
  config.vm.define "prod"
  config.vm.box = "lap/0123456789abcdef"
  config.vm.guest = :debian
  config.vm.box_check_update = false
  config.vm.boot_timeout = 240 # lap's own patience ends before
  config.vm.synced_folder ".", "/vagrant", disabled: true
  config.vm.graceful_halt_timeout = 150 # containers have their own time to stop
  # lap made the machine's keys before its first start: no password, and no key that others know.
  config.ssh.username = "root"
  config.ssh.private_key_path = "/w/.lap/keys/admin"
  config.ssh.insert_key = false
  config.ssh.sudo_command = "%c" # root is root
  config.vm.provider :libvirt do |vm|
    vm.uri = "qemu:///system"
    vm.driver = "kvm"
    vm.cpu_mode = "host-passthrough"
    vm.default_prefix = "lap-office-"
    vm.title = "lap: prod of office"
    vm.cpus = 2
    vm.memory = 4096
    vm.autostart = true # comes back after a power cut
    vm.graphics_type = "none"
    vm.serial type: "file", source: { path: "/var/lib/lap/office/prod/console.log" }
    vm.management_network_mac = "52:54:00:c3:2f:f9"
    vm.management_network_name = "lap-office"
    vm.management_network_address = "192.168.57.0/24"
    vm.management_network_keep = true
    vm.storage_pool_name = "lap"
    # Who the machine is; and its data, on a disk that Vagrant did not make and does not remove.
    vm.storage :file, device: :cdrom, path: "/var/lib/lap/office/prod/seed.iso"
    vm.storage :file, path: "office-prod-data.qcow2", type: "qcow2", size: "20480M", serial: "lap-data", allow_existing: true
  end
end
"##
        );
    }

    #[test]
    fn a_machine_of_a_box_of_others_is_left_to_vagrant() {
        let foreign = ForeignBox { name: "debian/bookworm64".into(), version: Some("12.1".into()) };
        let spec = VmSpec {
            base: foreign.to_string(),
            foreign: Some(foreign),
            bridge: Some("br0".into()),
            ..spec(Hypervisor::Libvirt)
        };
        let text = text(&spec, Path::new("/k"), None, true);
        let (head, rest) = text.split_once("  config.vm.provider").unwrap();
        assert_eq!(
            head,
            r##"# The node `prod` of the lab `office`: `lap` writes this from nodes/prod/node.toml whenever that changes.
# A nodes/prod/Vagrantfile of your own is read after it: what it says counts.
Vagrant.configure("2") do |config|
  config.vm.define "prod"
  config.vm.box = "debian/bookworm64"
  config.vm.box_version = "12.1"
  config.vm.box_check_update = false
  config.vm.boot_timeout = 240 # lap's own patience ends before
  config.vm.synced_folder ".", "/vagrant", disabled: true
  config.vm.graceful_halt_timeout = 150 # containers have their own time to stop
  # As its box says. Vagrant puts a key of its own in the place of the one that everybody has, and lap takes care that
  # nothing else that comes with the box opens the machine.
  config.ssh.insert_key = true
  config.vm.network :public_network, dev: "br0", type: "bridge", mac: "52:54:00:0e:7f:90", ip: "192.168.57.10", netmask: "255.255.255.0"
"##
        );
        assert!(!rest.contains("seed") && rest.contains("serial: \"lap-data\", allow_existing: true"), "{rest}");
        assert!(!text.contains("/k"), "{text}");
    }

    #[test]
    fn a_machine_in_the_offices_network_has_a_line_to_its_host() {
        let spec = VmSpec { bridge: Some("br0".into()), address: None, ..spec(Hypervisor::Libvirt) };
        let text = text(&spec, Path::new("/k"), None, true);
        let line = "vm.channel type: \"unix\", target_type: \"virtio\", target_name: \"org.qemu.guest_agent.0\"\n";
        assert!(text.contains(line), "{text}");
        assert!(
            text.contains("dev: \"br0\", type: \"bridge\", mac: \"52:54:00:0e:7f:90\", auto_config: false\n"),
            "{text}"
        );
    }

    #[test]
    fn a_hand_written_one_counts() {
        let spec = VmSpec { bridge: Some("br0".into()), ..spec(Hypervisor::Virtualbox) };
        let text = text(&spec, Path::new("/k"), Some(Path::new("/w/nodes/prod/Vagrantfile")), false);
        let load = "own = \"/w/nodes/prod/Vagrantfile\"\nload own if File.exist?(own)\n";
        assert!(text.ends_with(&format!("end\n{load}")), "{text}");
        assert!(text.contains("config.vm.network :public_network, bridge: \"br0\", mac: \"080027"), "{text}");
        let spec = super::super::tests::spec(Hypervisor::Libvirt);
        let text = super::text(&spec, Path::new("/k"), Some(Path::new("/w/nodes/prod/Vagrantfile")), false);
        let (before, after) = text.split_once(load).unwrap();
        assert!(!before.contains("vm.serial") && after.contains("vm.serial"), "{text}");
    }
}

//! What can be said about VirtualBox on a machine without it: Vagrant takes the Vagrantfile, and the box's disk boots on the same
//! kind of hardware.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lap::{
    config::model::{ForeignBox, Hypervisor},
    drivers::node::vm::{spec::VmSpec, vagrantfile},
};

use super::lab::{Lab, run};

/// Emulated, and beside others.
const PATIENCE: Duration = Duration::from_secs(600);

fn spec(hypervisor: Hypervisor, bridge: Option<&str>) -> VmSpec {
    VmSpec {
        lab: "office".into(),
        node: "prod".into(),
        host: None,
        hypervisor,
        base: "0123456789abcdef".into(),
        foreign: None,
        address: Some([192, 168, 57, 10].into()),
        prefix: 24,
        bridge: bridge.map(str::to_owned),
        cpus: 2,
        memory: 2 << 30,
        disk: 20 << 30,
    }
}

/// A person's own words, beside what lap writes.
const OWN: &str = "Vagrant.configure(\"2\") do |config|\n  config.vm.hostname = \"mine\"\n\
                   \x20 [:libvirt, :virtualbox].each { |name| config.vm.provider(name) { |vm| vm.memory = 1234 } }\nend\n";

#[test]
#[ignore = "needs Vagrant: `VM=1 scripts/test` runs it last"]
fn vagrant_takes_every_vagrantfile() {
    let dir = tempfile::tempdir().unwrap();
    let (own, key) = (dir.path().join("own"), dir.path().join("key"));
    fs::write(&key, "").unwrap();
    fs::write(&own, OWN).unwrap();
    let foreign = |bridge| {
        let foreign = ForeignBox { name: "debian/bookworm64".into(), version: Some("12.20250126.1".into()) };
        VmSpec { base: foreign.to_string(), foreign: Some(foreign), ..spec(Hypervisor::Libvirt, bridge) }
    };
    for spec in [
        spec(Hypervisor::Libvirt, None),
        spec(Hypervisor::Libvirt, Some("br0")),
        spec(Hypervisor::Virtualbox, None),
        spec(Hypervisor::Virtualbox, Some("enp3s0: Ethernet")),
        foreign(None),
        foreign(Some("br0")),
    ] {
        let (hypervisor, bridge) = (spec.hypervisor, &spec.bridge);
        let own = [None, Some(own.as_path())];
        for text in own.map(|own| vagrantfile::text(&spec, &key, own, false)) {
            fs::write(dir.path().join("Vagrantfile"), &text).unwrap();
            let mut command = Command::new("vagrant");
            command.arg("validate").current_dir(dir.path());
            // What stands in a provider's own part is looked at where the provider is; and whether there is such a bridge.
            if hypervisor == Hypervisor::Virtualbox || bridge.is_some() {
                command.arg("--ignore-provider");
            }
            command.env("VAGRANT_HOME", dir.path().join("home")).env("VAGRANT_DEFAULT_PROVIDER", hypervisor.name());
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{text}\n{said}");
        }
    }
}

struct Emulated(Child);

impl Drop for Emulated {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "makes a box and boots it: `VM=1 scripts/test` runs it last"]
fn the_virtualbox_box_boots_on_ahci() {
    let lab = Lab::tiny("box");
    let file = lab.lap(&["node", "image", "--for", "virtualbox"]).ok();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    run("tar", &["-xf", file.trim(), "-C", &path("")]).ok();
    let metadata = fs::read_to_string(path("metadata.json")).unwrap();
    assert_eq!(metadata, r#"{"provider":"virtualbox"}"#);
    let disk = path("box-disk001.vmdk");
    let info = run("qemu-img", &["info", &disk]).ok();
    assert!(info.contains("create type: streamOptimized") && info.contains("20 GiB"), "{info}");
    let ovf = fs::read_to_string(path("box.ovf")).unwrap();
    let size = fs::metadata(&disk).unwrap().len();
    assert!(ovf.contains(&format!("ovf:href=\"box-disk001.vmdk\" ovf:id=\"file1\" ovf:size=\"{size}\"")), "{ovf}");

    let console = path("console");
    let (serial, drive) = (format!("file:{console}"), format!("if=none,id=disk,snapshot=on,format=vmdk,file={disk}"));
    let arguments =
        ["-machine", "pc", "-cpu", "max", "-m", "1024", "-display", "none", "-no-reboot", "-serial", &serial];
    let hardware = ["-drive", &drive, "-device", "ahci,id=sata", "-device", "ide-hd,drive=disk,bus=sata.0"];
    let network = ["-netdev", "user,id=net", "-device", "e1000,netdev=net"];
    let mut command = Command::new("qemu-system-x86_64");
    command.args(arguments).args(hardware).args(network).stdin(Stdio::null());
    let mut machine = Emulated(command.spawn().unwrap());
    let began = Instant::now();
    loop {
        let said = fs::read(&console).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        if said.contains("lap-node login:") {
            break;
        }
        assert!(machine.0.try_wait().unwrap().is_none(), "qemu ended\n{said}");
        assert!(began.elapsed() < PATIENCE, "it does not come up\n{said}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

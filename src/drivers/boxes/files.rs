//! What stands on a box's disk beside Debian's packages.

use lap_base::{archive::pack, error::Result};

use crate::wire::units;

/// Takes in the seed before anything looks at who the machine is.
const SEED_UNIT: &str = "\
# Written by `lap`.
[Unit]
Description=lap seed
DefaultDependencies=no
Conflicts=shutdown.target
Wants=network-pre.target
After=local-fs.target systemd-udev-trigger.service
Before=network-pre.target systemd-networkd.service lap-agent.service shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/lib/lap/seed

[Install]
WantedBy=multi-user.target
";
/// Waiting for the network is what those do who need it.
const AGENT: &str = "\
# Written by `lap`.
[Unit]
Wants=lap-seed.service
After=lap-seed.service lap-modules.service
";
/// What the pool and Docker need, loaded beside everything else: btrfs tries out its instructions for a while, and nothing but the agent
/// waits for it. Docker loads by itself what is not there yet.
const MODULES_UNIT: &str = "\
# Written by `lap`.
[Unit]
Description=lap modules
DefaultDependencies=no
Conflicts=shutdown.target
Before=lap-agent.service shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/sbin/modprobe --all btrfs loop overlay bridge br_netfilter nft_compat nft_chain_nat xt_addrtype xt_conntrack xt_MASQUERADE veth

[Install]
WantedBy=multi-user.target
";
/// `panic`: a machine whose kernel gave up starts again. `no_timer_check`: an emulated processor that others keep waiting fails that check, and the kernel panics.
const GRUB: &str = "\
serial --unit=0 --speed=115200
terminal_output console serial
linux /vmlinuz root=LABEL=lap-root ro console=tty0 console=ttyS0,115200 quiet panic=10 no_timer_check
initrd /initrd.img
boot
";
const FSTAB: &str = "LABEL=lap-root / ext4 noatime 0 1\n";
/// Until the seed says something else. By name: a container's end of a cable (veth) is of type `ether`, too, and whoever takes it for a
/// card pulls it out of its bridge.
const NETWORK: &str = "[Match]\nName=en* eth*\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n";

/// Makes the disk; it removes itself. In the root file system, since there it can be read by whoever root is there.
pub const DISK: &str = "lap-disk.sh";

/// The small initial RAM disk of a machine whose hardware is known.
pub const MODULES: [&str; 8] =
    ["virtio_pci", "virtio_blk", "virtio_scsi", "ahci", "ata_piix", "sd_mod", "sr_mod", "ext4"];

/// The archive of them, paths without the first `/`.
///
/// # Errors
/// Never: it is made in memory.
pub fn archive() -> Result<Vec<u8>> {
    let relative = |path: &'static str| path.trim_start_matches('/');
    pack([
        ("boot/grub/grub.cfg", 0o644, GRUB.as_bytes()),
        ("etc/fstab", 0o644, FSTAB.as_bytes()),
        ("etc/hostname", 0o644, b"lap-node\n".as_slice()),
        ("etc/systemd/network/90-lap.network", 0o644, NETWORK.as_bytes()),
        ("etc/systemd/system/lap-seed.service", 0o644, SEED_UNIT.as_bytes()),
        ("etc/systemd/system/lap-agent.service.d/seed.conf", 0o644, AGENT.as_bytes()),
        (relative(units::UNIT), 0o644, units::UNIT_TEXT.as_bytes()),
        (relative(units::DOCKER_UNIT), 0o644, units::DOCKER_TEXT.as_bytes()),
        ("etc/systemd/system/lap-modules.service", 0o644, MODULES_UNIT.as_bytes()),
        (DISK, 0o644, include_bytes!("disk.sh").as_slice()),
        ("usr/local/lib/lap/seed", 0o755, include_bytes!("seed.sh").as_slice()),
    ])
}

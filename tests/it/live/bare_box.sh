#!/bin/sh
# A hook of mmdebstrap(1): makes $1, a plain Debian, the disk $2 of a box as others make them. It has a user `vagrant` with the password
# and the key that everybody has, who may become root, and nothing of lap. It boots as lap's own boxes do.
set -eu
root=$1 target=$2 key=$3
export LC_ALL=C

for user in vagrant root; do
	[ "$user" = root ] || chroot "$root" useradd -m -s /bin/bash "$user"
	echo "$user:vagrant" | chroot "$root" chpasswd
done
install -d -m 700 "$root/home/vagrant/.ssh"
printf '%s\n' "$key" >"$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown -R vagrant:vagrant /home/vagrant/.ssh
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
echo bare >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 bare\n' >"$root/etc/hosts"
# Each machine has a host key of its own.
rm -f "$root"/etc/ssh/ssh_host_*
cat >"$root/etc/systemd/system/ssh-keys.service" <<'UNIT'
[Unit]
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
[Install]
WantedBy=multi-user.target
UNIT
printf '[Match]\nName=en* eth*\n\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/90-dhcp.network"
rm -f "$root/etc/resolv.conf"
ln -s /run/systemd/resolve/resolv.conf "$root/etc/resolv.conf"
chroot "$root" systemctl --quiet enable systemd-networkd.service systemd-resolved.service ssh.service ssh-keys.service
chroot "$root" systemctl --quiet mask systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer
echo 'LABEL=bare-root / ext4 noatime 0 1' >"$root/etc/fstab"
: >"$root/etc/machine-id"
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<'GRUB'
linux /vmlinuz root=LABEL=bare-root ro console=tty0 console=ttyS0,115200 quiet panic=10 no_timer_check
initrd /initrd.img
boot
GRUB
chroot "$root" grub-mkimage -O i386-pc -o /boot/grub/core.img -p '(hd0,msdos1)/boot/grub' \
	biosdisk part_msdos ext2 normal configfile linux

disk=$target.raw
view=$(mktemp -d "$root.XXXXXX")
trap 'umount "$view" 2>/dev/null || true; rmdir "$view"; rm -f "$disk"' EXIT
mount --bind "$root" "$view"
truncate -s 8G "$disk"
mke2fs -q -F -t ext4 -L bare-root -O ^metadata_csum_seed,^orphan_file \
	-E offset=1048576,lazy_itable_init=1,lazy_journal_init=1 -d "$view" "$disk" 8387584k
# grub's first sector, the partition table (active, type 83, from sector 2048), its magic, and grub itself.
dd status=none conv=notrunc if="$root/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=440 count=1
printf '\200\376\377\377\203\376\377\377\000\010\000\000\000\370\377\000' |
	dd status=none conv=notrunc of="$disk" bs=1 seek=446
printf '\125\252' | dd status=none conv=notrunc of="$disk" bs=1 seek=510
dd status=none conv=notrunc if="$root/boot/grub/core.img" of="$disk" bs=512 seek=1
qemu-img convert -f raw -O qcow2 "$disk" "$target"

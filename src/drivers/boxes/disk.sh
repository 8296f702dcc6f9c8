#!/bin/sh
# A hook of mmdebstrap(1): makes $1, a root file system, a disk that boots by itself. Runs where its owners are right, as
# root or in mmdebstrap's user namespace. FORMAT and OPTIONS are for qemu-img.
set -eu
root=$1
export LC_ALL=C
rm "$root/lap-disk.sh"

# What a machine has that a container does not need. lap's agent has an sshd of its own, with keys it is given.
chroot "$root" systemctl --quiet enable systemd-networkd.service systemd-timesyncd.service \
	lap-modules.service lap-seed.service lap-agent.service
chroot "$root" systemctl --quiet mask ssh.service systemd-networkd-wait-online.service \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf"
# mmdebstrap does this only after us.
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
# Each machine makes its own: this one would take the D-Bus package's, and all of them would be the same to whoever asks (DHCP, the journal).
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"

# The boot loader in front of the first partition, with all it needs to find its settings.
chroot "$root" grub-mkimage -O i386-pc -o /boot/grub/core.img -p '(hd0,msdos1)/boot/grub' \
	biosdisk part_msdos ext2 normal configfile linux serial terminal echo test

disk=$(mktemp "$root.XXXXXX")
# The file system alone, without /proc and what else is mounted in it now.
view=$(mktemp -d "$root.XXXXXX")
trap 'umount "$view" 2>/dev/null || true; rmdir "$view"; rm -f "$disk"' EXIT
mount --bind "$root" "$view"
# 20 GiB, of which the file takes what is used; the first MiB is the boot loader's.
truncate -s 20G "$disk"
mke2fs -q -F -t ext4 -L lap-root -O ^metadata_csum_seed,^orphan_file \
	-E offset=1048576,lazy_itable_init=1,lazy_journal_init=1 -d "$view" "$disk" 20970496k
# grub's first sector without room for the partition table; one partition (active, type 83, from sector 2048, to the end).
dd status=none conv=notrunc if="$root/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=440 count=1
printf '\200\376\377\377\203\376\377\377\000\010\000\000\000\370\177\002' |
	dd status=none conv=notrunc of="$disk" bs=1 seek=446
printf '\125\252' | dd status=none conv=notrunc of="$disk" bs=1 seek=510
dd status=none conv=notrunc if="$root/boot/grub/core.img" of="$disk" bs=512 seek=1
qemu-img convert -f raw -O "$FORMAT" -c -o "$OPTIONS" "$disk" "$root/lap-disk"

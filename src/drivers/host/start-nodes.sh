#!/bin/sh
# Written by `lap`: brings the nodes of this host up after it was booted. Those that `lap down` stopped stay down.
set -u
home=${1:-/var/lib/lap}
failed=0

# libvirt starts its own by itself as soon as it runs. Where it runs only when it is asked, it is asked here.
if command -v virsh >/dev/null; then
	for name in $(virsh --quiet --connect qemu:///system list --all --autostart --state-shutoff --name); do
		case $name in
		lap-*) virsh --quiet --connect qemu:///system start "$name" || failed=1 ;;
		esac
	done
fi

# VirtualBox' machines are a person's.
for made in "$home"/*/*/made.json; do
	node=${made%/made.json}
	if [ ! -e "$made" ] || [ -e "$node/stopped" ] || ! grep -q '"hypervisor": *"virtualbox"' "$made"; then
		continue
	fi
	lab=${node%/*}
	runuser -u "$(stat -c %U "$made")" -- \
		VBoxManage startvm "lap-${lab##*/}-${node##*/}" --type headless || failed=1
done
exit "$failed"

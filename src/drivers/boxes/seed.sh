#!/bin/sh
# Takes in what lap put on the machine's seed, an archive in the place of a CD: who the machine is, its keys, lap itself.
# What was taken in once is not taken in again, so that it does not undo what lap changed since.
set -u
mark=/var/lib/lap/seed
tries=0
while :; do
	for disk in /dev/sr0 /dev/sr1; do
		[ -b "$disk" ] || continue
		id=$(tar --occurrence=1 -xOf "$disk" lap-seed 2>/dev/null) || continue
		[ -n "$id" ] || continue
		if [ "$id" != "$(cat "$mark" 2>/dev/null)" ]; then
			echo "taking in $id"
			tar -xf "$disk" -C / --exclude=lap-seed --no-same-owner && sync && echo "$id" >"$mark" || exit 1
		fi
		hostname -F /etc/hostname
		exit 0
	done
	tries=$((tries + 1))
	# A machine that knows who it is does not need it.
	[ "$tries" -lt 50 ] || [ ! -e /var/lib/lap/node.json ] || exit 0
	[ "$tries" -lt 600 ] || exit 1
	sleep 0.1
done

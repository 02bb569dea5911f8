#!/bin/sh
# Usage: trim.sh TREE. Takes out what is no part of an image: logs and caches, what the packages made
# up by chance, and what the host told.
set -eu
find "$1/var/log" "$1/var/cache" "$1/var/lib/apt/lists" -type f -delete
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/iscsi/initiatorname.iscsi" "$1"/etc/nvme/host* \
	"$1"/etc/*- "$1"/var/lib/dpkg/*-old "$1/etc/.pwd.lock" "$1/etc/apt/preferences.d/old-kernel"
# A link is to what systemd-resolved says of the machine that runs.
[ -L "$1/etc/resolv.conf" ] || : >"$1/etc/resolv.conf"
echo host >"$1/etc/hostname"

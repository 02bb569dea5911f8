#!/bin/sh
# Usage: assemble.sh BASE.tar WORK. Makes WORK/{root.img,initrd.img,linux,stub.efi} from the base
# tree, the packages in WORK/packages, the files in WORK/files, and the lists WORK/{rebuilt,units}.
# Run as root, with SOURCE_DATE_EPOCH set.
set -eu
base=$1
work=$2
tree=$work/tree
uuid=5ee5a400-0000-4000-8000-000000000001

mkdir "$tree"
tar -C "$tree" --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*' -xpf "$base"
if [ -n "$(ls "$work/packages")" ]; then
	cp -r "$work/packages" "$tree/tmp/"
	# Programs that were built on a newer system than the image's depend on its libc and are refused.
	chroot "$tree" sh -c 'dpkg --force-unsafe-io --path-exclude="/usr/share/zsh/*" \
		--path-exclude="/usr/share/fish/*" --install /tmp/packages/*.deb'
fi
cp -a "$work/files/." "$tree/"
chown -R --from="$(stat -c %u "$work/files")" 0:0 "$tree/etc" "$tree/usr/lib" "$tree/usr/share"

# As a security update leaves them: the same programs, a little different.
while read -r program; do
	cat "$tree/usr/lib/os-release" "$tree/$program" | sha256sum >"$work/note"
	objcopy --add-section .comment.rebuilt="$work/note" "$tree/$program"
done <"$work/rebuilt"

chroot "$tree" systemd-sysusers
while read -r unit; do
	chroot "$tree" systemctl --quiet enable "$unit"
done <"$work/units"
# Nothing here is used, and each costs a second where the machine is emulated.
chroot "$tree" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer \
	dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
	systemd-tmpfiles-clean.timer systemd-firstboot.service systemd-pstore.service \
	systemd-repart.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
	systemd-network-generator.service systemd-user-sessions.service \
	getty.target getty-static.service serial-getty@ttyS0.service \
	dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
	sys-kernel-config.mount sys-fs-fuse-connections.mount \
	modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service \
	modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service
# What they would find is known here: the image is complete, and has no fstab, swap or console.
rm -f "$tree"/usr/lib/systemd/system-generators/*
chroot "$tree" systemctl --quiet set-default multi-user.target

version=$(ls "$tree/lib/modules")
# Compressed by the payload, not twice.
chroot "$tree" mkinitramfs -c gzip -l 1 -o /tmp/initrd.gz "$version"
gzip -dc "$tree/tmp/initrd.gz" >"$work/initrd.img"
cp "$tree/boot/vmlinuz-$version" "$work/linux"
cp "$tree/usr/lib/systemd/boot/efi/linuxx64.efi.stub" "$work/stub.efi"

# The kernel has a partition of its own, and what the host told the tree is no part of an image.
rm -rf "$tree"/boot/* "$tree"/vmlinuz* "$tree"/initrd* "$tree"/tmp/* "$tree"/run/* \
	"$tree"/usr/lib/systemd/boot "$tree"/var/cache/* "$tree"/var/log/* "$tree"/var/tmp/* \
	"$tree"/var/lib/apt/lists/* "$tree"/etc/*- "$tree"/var/lib/dpkg/*-old \
	"$tree"/etc/resolv.conf "$tree"/etc/fstab "$tree"/etc/.pwd.lock
: >"$tree/etc/resolv.conf"
# Empty: systemd makes one for this boot, since /etc cannot keep it.
: >"$tree/etc/machine-id"

mkfs.erofs -zlz4 -C65536 -T "$SOURCE_DATE_EPOCH" -U "$uuid" "$work/root.img" "$tree" >/dev/null

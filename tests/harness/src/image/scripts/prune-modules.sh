#!/bin/sh
# Usage: prune-modules.sh TREE. Keeps the kernel modules that the images load, with what those
# need: Debian's generic kernel brings 400 MB of them.
set -eu
tree=$1

wanted='virtio_pci virtio_blk virtio_net virtio_scsi virtio_rng ahci nvme sd_mod usb_storage uas
	ext4 erofs efivarfs vfat nls_ascii nls_cp437 dm_verity autofs4 i6300esb iTCO_wdt wdat_wdt'

for modules in "$tree"/lib/modules/*; do
	version=$(basename "$modules")
	kept=$(mktemp)
	for module in $wanted; do
		# A module that is built in prints a line of another kind.
		chroot "$tree" modprobe -S "$version" --show-depends "$module" |
			sed -n 's/^insmod \([^ ]*\).*/\1/p'
	done | sort -u >"$kept"
	(cd "$tree" && find "lib/modules/$version/kernel" -type f | sed 's,^,/,' | sort) |
		comm -23 - "$kept" | sed "s,^,$tree," | xargs -d '\n' rm -f
	find "$modules/kernel" -type d -empty -delete
	rm -f "$kept"
	chroot "$tree" depmod "$version"
done

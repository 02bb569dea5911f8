#!/bin/sh
# Usage: old-kernel.sh TREE. Takes the kernel as the suite has it, and all else with updates.
set -eu
cat >"$1/etc/apt/preferences.d/old-kernel" <<END
Package: linux-image-*
Pin: release n=bookworm
Pin-Priority: 1001
END

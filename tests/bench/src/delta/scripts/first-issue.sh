#!/bin/sh
# Usage: first-issue.sh TREE. Leaves out what the suite was given since: its updates and security.
set -eu
find "$1/etc/apt" -name '*.list' -exec sed -i '/ [a-z]*-\(updates\|security\) /d' {} +

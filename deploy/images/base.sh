#!/bin/sh
# Make an image of Debian with Python from Debian's packages, where no registry is in reach.
# Usage: base.sh NAME BUILDER [OPTION…]   (BUILDER is buildah; needs mmdebstrap)
set -eu
name=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --quiet --variant=minbase --include=python3.11,python3.11-venv,ca-certificates bookworm "$folder/base.tar"
container=$("$@" from scratch)
"$@" add --quiet "$container" "$folder/base.tar" /
"$@" run --isolation chroot "$container" -- ln -sf /usr/bin/python3.11 /usr/local/bin/python3
"$@" run --isolation chroot "$container" -- ln -sf /usr/bin/python3.11 /usr/local/bin/python
"$@" commit --quiet --rm "$container" "$name"

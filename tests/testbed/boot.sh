#!/usr/bin/env bash
# Boots a Linux of its own (User Mode Linux) as an ordinary process, in name spaces that end with it.
# usage: boot.sh FOLDER READ_FD WRITE_FD
# FOLDER, which holds `init`, is what guest and host have in common. The guest's second console is the pair of descriptors.
# Its root is this machine's own, read-only. A caller who is not root needs user name spaces.
set -euo pipefail
folder=$1 read_fd=$2 write_fd=$3

if [ -z "${IN_NAMESPACES:-}" ]; then
  as_root=(--map-root-user)
  [ "$(id -u)" != 0 ] || as_root=()
  IN_NAMESPACES=1 exec unshare "${as_root[@]}" --mount --pid --fork --kill-child=KILL -- "$0" "$@"
fi

# The guest's memory is a file; /dev/shm is often too small for it.
mkdir -p "$folder/memory"
mount -t tmpfs -o size=1g,mode=700 tmpfs "$folder/memory"
export TMPDIR=$folder/memory
# Not by exec: as the first process of a PID name space it never ends its own children.
linux.uml mem=768M root=/dev/root rootfstype=hostfs rootflags=/ ro init="$folder/init" FOLDER="$folder" quiet panic=-1 \
  con=null con0=null,fd:2 con1="fd:$read_fd,fd:$write_fd" ssl=null umid=guest uml_dir="$folder/memory"

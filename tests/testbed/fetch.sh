#!/usr/bin/env bash
# Fetches what the tests on kernel NFS and SMB mounts need into FOLDER: Debian packages, unpacked and not installed, so that no
# server ever runs on this machine. What is installed here is not fetched. Needs no root where apt's lists are there.
# usage: fetch.sh FOLDER
set -euo pipefail
mkdir -p "$1"
folder=$(realpath "$1")
packages=(
  user-mode-linux kmod iproute2 # a Linux that runs as a process, its modules, its network
  nfs-kernel-server nfs-common  # both ends of NFS
  samba cifs-utils              # both ends of SMB
  python3-samba                 # an SMB client that shares a file with nobody
)

missing_packages() {
  apt-get install --simulate --no-install-recommends "${packages[@]}" | awk '$1 == "Inst" { print $2 }'
}

[ ! -e "$folder/.complete" ] || exit 0
downloads=$(mktemp -d)
trap 'rm -rf "$downloads"' EXIT
missing=$(missing_packages 2>/dev/null) || { apt-get update -qq && missing=$(missing_packages); }
cd "$downloads"
# shellcheck disable=SC2086
[ -z "$missing" ] || apt-get download -qq -o APT::Sandbox::User=root $missing
# Merged as the system is: a real /bin here would hide the system's link of that name.
for directory in bin sbin lib; do
  mkdir -p "$folder/usr/$directory"
  [ -e "$folder/$directory" ] || ln -s "usr/$directory" "$folder/$directory"
done
for package in *.deb; do
  [ ! -e "$package" ] || dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder" --keep-directory-symlink --no-same-owner
done
touch "$folder/.complete"

#!/usr/bin/env bash
# Boots a real systemd as an ordinary process: the first one of name spaces of its own, on this machine's root with a layer to
# write on over it. All of it goes when this process is killed. usage: boot_systemd.sh FOLDER CGROUP [SOURCE:TARGET]...
# FOLDER is an empty one to work in; CGROUP a control group of version 2 to be made; each SOURCE is seen at TARGET, read-only.
set -euo pipefail
folder=$1 cgroup=$2

if [ -z "${IN_NAMESPACES:-}" ]; then
  mkdir "$cgroup"
  echo $$ >"$cgroup/cgroup.procs"
  export IN_NAMESPACES=1
  exec unshare --mount --propagation private --pid --fork --kill-child=KILL --uts --ipc --net --cgroup -- "$0" "$@"
fi

mount -t tmpfs -o size=4g,mode=755 tmpfs "$folder"
mkdir "$folder"/{upper,work,root}
root=$folder/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
# What this machine runs at its start is not started again.
rm -rf "$root"/etc/systemd/system/*.target.wants
for unit in ssh smbd nmbd samba-ad-dc nfs-server postgresql; do ln -sf /dev/null "$root/etc/systemd/system/$unit.service"; done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root"/dev/{pts,shm}
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"; done
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" # version 2 alone: systemd then leaves this machine's other controllers in peace
for bound in "${@:3}"; do
  mkdir -p "$root/${bound#*:}"
  mount --bind "${bound%%:*}" "$root/${bound#*:}"
  mount -o remount,bind,ro "$root/${bound#*:}"
done
cd "$root"
pivot_root . mnt
umount --lazy /mnt
mount --make-rshared / # as on a machine: what is mounted later is seen by services too
exec env -i container=tests PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb /lib/systemd/systemd --system

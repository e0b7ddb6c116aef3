#!/usr/bin/env bash
# The file server at the other end of the guest's network: NFS 4.2 of /run/server/nfs, SMB 3.1.1 of /run/server/smb as `scans`.
set -euo pipefail

# No file is delegated to a client: one that was cut off would keep everybody on the server from it.
echo 0 >/proc/sys/fs/leases-enable
mount -t nfsd nfsd /proc/fs/nfsd
exportfs -i -o rw,sync,fsid=0,no_subtree_check,no_root_squash 10.99.0.0/24:/run/server/nfs
rpc.mountd -N 2 -N 3
rpc.nfsd -N 3 -V 4.2 --grace-time 10 --lease-time 10 2

cat >/run/samba/smb.conf <<'CONFIGURATION'
[global]
  server role = standalone server
  interfaces = 10.99.0.1/24
  bind interfaces only = yes
  disable netbios = yes
  smb ports = 445
  load printers = no
  printcap name = /dev/null
  disable spoolss = yes
  log file = /run/samba/log
  private dir = /run/samba
  lock directory = /run/samba
  state directory = /run/samba
  cache directory = /run/samba
  pid directory = /run/samba
  ncalrpc dir = /run/samba/ncalrpc
[scans]
  path = /run/server/smb
  read only = no
  force user = root
CONFIGURATION
printf 'secret\nsecret\n' | smbpasswd -c /run/samba/smb.conf -s -a root
smbd -s /run/samba/smb.conf -l /run/samba -D

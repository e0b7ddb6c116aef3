#!/usr/bin/env bash
# Makes of the guest two machines with a link between them, a file server there, and the tests' agent here.
# What is written anywhere goes with the guest; only /run/common is a folder of the host.
set -euo pipefail
trap 'echo "guest: line $LINENO of inside.sh failed"' ERR
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mkdir -p /dev/shm /lib/modules /run/{common,netns,samba} /run/server/{nfs,smb}
mount -t tmpfs tmpfs /dev/shm
mount -t hostfs -o "$FOLDER" none /run/common
ln -sfn /usr/lib/uml/modules/* /lib/modules/
modprobe -a nfsd nfs nfsv4 cifs veth nls_utf8

ip link set lo up
ip netns add server
ip link add client type veth peer name server netns server
ip addr add 10.99.0.2/24 dev client
ip link set client up
ip -n server addr add 10.99.0.1/24 dev server
ip -n server link set server up
ip -n server link set lo up

mount -t tmpfs -o size=20m tmpfs /run/server/nfs # what an overlay holds cannot be exported
mount -t tmpfs -o size=20m tmpfs /run/server/smb
mount -t tmpfs tmpfs /var/lib/nfs
mkdir -p /var/lib/nfs/{sm,sm.bak,v4recovery,rpc_pipefs}
touch /var/lib/nfs/{etab,rmtab,state}
ip netns exec server unshare --mount "$TESTBED/serve.sh"
echo "guest: the servers run"
"$PYTHON" -m tests.testbed.agent </dev/tty1 >/dev/tty1

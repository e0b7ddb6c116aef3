#!/usr/bin/env bash
# The first process of the guest: puts what fetch.sh unpacked and a layer to write on over the host's root, and goes there.
set -euo pipefail
exec >/dev/console 2>&1
echo "guest: the kernel runs"
. "$FOLDER/guest.env"
export PATH=$FOLDER/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/{layer,upper,work,root}
mount -t hostfs -o "$LAYER" none /run/layer
for base in '' "$LAYER"; do
  [ ! -x "$base/bin/kmod" ] || kmod=$base/bin/kmod # insmod is a link to it, and leads out of the layer
  [ ! -d "$base/usr/lib/uml" ] || modules=$base/usr/lib/uml/modules
done
(LD_LIBRARY_PATH=$LAYER/usr/lib/x86_64-linux-gnu exec -a insmod "$kmod" "$modules"/*/kernel/fs/overlayfs/overlay.ko*)
# nosuid for the reason for which `mount` has a copy in FOLDER/bin.
mount -t overlay overlay -o nosuid,lowerdir=/run/layer:/,upperdir=/run/upper,workdir=/run/work /run/root
exec chroot /run/root "$TESTBED/inside.sh"

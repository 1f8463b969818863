#!/bin/sh
# The first process of the virtual machine: shows the host's files under a layer of its own, so that
# nothing is changed there, and runs what the host has left in the run's directory.
fail() { echo "the virtual machine cannot start: $1"; poweroff -f; }
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "$module" || fail "$module"; done </modules
share=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "ro,cache=loose,$share" host /lower || fail "no files of the host"
mount -t tmpfs -o mode=755 layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work root /root ||
    fail "no layer over the host's files"
for place in proc sys dev; do
    mkdir -p /root/$place
    mount -o move /$place /root/$place
done
cd /root || fail "no root"
mount -t tmpfs -o mode=755 run run
mkdir -p dev/pts dev/shm run/netmon-vm run/tools
mkdir -m 1777 run/tmp
mount -t devpts -o mode=600,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t 9p -o "$share" run run/netmon-vm || fail "no directory of the run"
ln -sf /proc/self/fd dev/fd
hostname netmon-vm
ip link set lo up
# Modules come by themselves, as on any Debian. The host's own kernel has others, or none.
mkdir -p lib/modules
ln -sfn "$(cat run/netmon-vm/modules)" "lib/modules/$(uname -r)"
cp /bin/busybox run/tools/busybox
for name in modprobe poweroff; do ln -s busybox run/tools/$name; done
echo /run/tools/modprobe >proc/sys/kernel/modprobe
# Those that tests ask for, so that no two do so at once: who comes second is told there is none.
for module in veth tun bridge ifb dummy 8021q sch_ingress cls_bpf cls_u32 act_mirred; do
    chroot . /run/tools/modprobe -q $module
done
exec switch_root /root /bin/sh /run/netmon-vm/run

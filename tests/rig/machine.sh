# The inside of the rig's machine: runs as process 1 of fresh user, mount and process namespaces (machine.py makes them),
# lays out a small root in memory, leaves the host's root for good, and serves SSH until its standard input closes.
#
# Arguments: the SSH port, the port of the EC2 endpoint, the system (flatcar or coreos), shell lines to run as root before
# the first login.
#
# From the host it keeps programs and libraries, read-only. It never sees the host's /etc (but for two harmless parts),
# /home, /root, /tmp or /var, and its root user is no one on the host.
set -eu
ssh_port=$1 endpoint_port=$2 system=$3 prepare=$4
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022

# borrow PATH-ON-HOST: the same path here, read-only.
borrow() {
    mkdir -p ".$1"
    mount --rbind "$1" ".$1"
    mount -o remount,bind,ro,nosuid,nodev ".$1"
}

mount -t tmpfs -o mode=0755,size=256m machine /tmp
cd /tmp
mkdir -m 0755 dev etc home proc run host var boot opt
mkdir -m 0755 var/log
mkdir -m 1777 tmp var/tmp
mkdir -m 0700 root

borrow /usr
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then cp -P "/$name" .; elif [ -d "/$name" ]; then borrow "/$name"; fi
done
mount -t tmpfs -o mode=0755,size=16m local usr/local
mkdir -p usr/local/bin opt/rig
if [ -d /etc/alternatives ]; then borrow /etc/alternatives; fi
if [ -f /etc/ld.so.cache ]; then cp /etc/ld.so.cache etc/; fi

mount -t proc proc proc
for name in null zero full random urandom tty; do
    : >"dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts
mkdir -m 1777 dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for name in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${name#*:}" "dev/${name%:*}"; done

cat >etc/passwd <<'EOF'
root:x:0:0:root:/root:/bin/bash
core:x:500:500:CoreOS Admin:/home/core:/bin/bash
sshd:x:74:74:sshd:/run/sshd:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin
EOF
cat >etc/group <<'EOF'
root:x:0:
tty:x:5:
core:x:500:
sshd:x:74:
nogroup:x:65534:
EOF
(umask 077 && printf '%s:*:19000:0:99999:7:::\n' root core sshd nobody >etc/shadow)
printf 'passwd: files\ngroup: files\nhosts: files\n' >etc/nsswitch.conf
printf '127.0.0.1 localhost\n' >etc/hosts
printf 'NAME="Flatcar Container Linux by Kinvolk"\nID=%s\nID_LIKE=coreos\nVERSION_ID=4230.2.4\n' "$system" >etc/os-release
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
mkdir -m 0755 etc/ssh run/sshd "boot/$system"

# What a first boot leaves behind and a published image must not carry.
mkdir -p home/core/.ssh/authorized_keys.d
ssh-keygen -q -t ed25519 -N '' -C first-boot -f tmp/first-boot
for file in authorized_keys authorized_keys.d/coreos-metadata authorized_keys.d/ignition; do
    cp tmp/first-boot.pub "home/core/.ssh/$file"
done
rm tmp/first-boot tmp/first-boot.pub
chown -R 500:500 home/core

# There is no password to ask for and no policy to apply: sudo is a set-user-id setpriv behind the options people use.
cp /usr/bin/setpriv opt/rig/setpriv
chmod 4755 opt/rig/setpriv
cat >usr/local/bin/sudo <<'EOF'
#!/bin/sh
keep= user=root
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        --preserve-env | --preserve-env=*) keep=1 ;;
        -u) shift; user=$1 ;;
        -*[!SnHkE]*) echo "sudo: the rig's sudo has no option $1" >&2; exit 1 ;;
        -*E*) keep=1 ;;
        -*) ;;
        *) break ;;
    esac
    shift
done
as="/opt/rig/setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups --"
home=$(getent passwd "$user" | cut -d: -f6)
if [ -n "$keep" ]; then exec $as env HOME="$home" "$@"; fi
exec $as env -i HOME="$home" LOGNAME="$user" USER="$user" SUDO_USER="$(id -un)" TERM="${TERM:-dumb}" PATH="$PATH" "$@"
EOF

# The door: only the public key of a running instance's key pair opens it, and EC2 is asked for it at each try.
cat >opt/rig/authorized-keys <<EOF
#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/$endpoint_port
printf 'GET /rig/authorized-keys HTTP/1.0\r\n\r\n' >&3
while IFS= read -r line <&3 && [ "\$line" != \$'\r' ]; do :; done
cat <&3
EOF
chmod 0755 usr/local/bin/sudo opt/rig/authorized-keys
cat >opt/rig/sshd_config <<EOF
Port $ssh_port
ListenAddress 127.0.0.1
PidFile none
HostKey /etc/ssh/ssh_host_rsa_key
HostKey /etc/ssh/ssh_host_ecdsa_key
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysCommand /opt/rig/authorized-keys
AuthorizedKeysCommandUser nobody
AuthorizedKeysFile .ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
MaxSessions 100
MaxStartups 200
LoginGraceTime 20
Subsystem sftp internal-sftp
LogLevel VERBOSE
EOF

pivot_root . host
cd /
umount -l /host
rmdir /host

ssh-keygen -A >/dev/null
sh -euc "$prepare"
/usr/sbin/sshd -D -e -f /opt/rig/sshd_config &

# When the rig goes, however it goes, this pipe closes; the end of process 1 ends everything in here.
read -r _ || true

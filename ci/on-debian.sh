#!/usr/bin/env bash
# on-debian.sh SUITE [--user] [COMMAND...]: run a command (make test) in a new Debian of that suite, on a copy of this
# checkout as it is. It is a root in /var/tmp with processes, mounts and network links of its own, on this machine's
# kernel; it is removed when the command has ended. Has to be root.
#
# --user  as an ordinary user, who may sudo; with a Nix daemon, where the suite's Nix is new enough
. "$(dirname "${BASH_SOURCE[0]}")/bootstrap/common.sh"

suite=${1:-}
[[ $suite =~ ^[a-z]+$ ]] || die "usage: on-debian.sh SUITE [--user] [COMMAND...]"
shift
user=root
home=/root
if [ "${1:-}" = --user ]; then
  user=tester
  home=/home/tester
  shift
fi
[ $# -gt 0 ] || set -- make test
[ "$(id -u)" = 0 ] || die "a Debian in /var/tmp is made by root: run this as root."
on_debian || die "this takes Debian's packages from the mirror that apt uses: run it on Debian."
install_packages iproute2 mmdebstrap debian-archive-keyring slirp4netns util-linux
mirror=$(debian_mirror)
[ -n "$mirror" ] || die "apt has no Debian repository configured to take packages from."

base=$(mktemp -d "/var/tmp/pikaci-$suite-XXXXXX")
debian=$base/root
network=${base##*/}
network_pid=
network_secs=30

remove_all() {
  [ -z "$network_pid" ] || kill "$network_pid" 2>/dev/null || true
  [ ! -e "/run/netns/$network" ] || ip netns delete "$network"
  rm -rf --one-file-system "$base"
}
trap remove_all EXIT

make_root() {
  local packages=(ca-certificates git make mount)
  [ "$user" = root ] || packages+=(sudo nix-bin)
  apt_network_options >"$base/apt.conf"
  chmod 755 "$base"
  mmdebstrap --quiet --variant=apt --include="$(IFS=, && echo "${packages[*]}")" --aptopt="$base/apt.conf" \
    "$suite" "$debian" "$mirror" >"$base/log" 2>&1 || { cat "$base/log" >&2; die "mmdebstrap could not make $suite."; }
}

# What this machine knows of the network around it: names, authorities, pip's indexes.
copy_settings() {
  local path
  for path in /etc/hosts /etc/pip.conf /etc/xdg/pip /usr/local/share/ca-certificates /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$path" ] || { mkdir -p "$debian${path%/*}" && cp -rLT "$path" "$debian$path"; }
  done
  rm -f "$debian/etc/resolv.conf"
  echo "nameserver 10.0.2.3" >"$debian/etc/resolv.conf" # slirp4netns asks this machine's
}

# Links and firewall rules of its own: what a newer nft writes, this machine's may not be able to read.
start_network() {
  local deadline=$((SECONDS + network_secs))
  ip netns add "$network"
  slirp4netns --configure --mtu=65520 --netns-type=path "/run/netns/$network" tap0 >"$base/network.log" 2>&1 &
  network_pid=$!
  until ip -netns "$network" address show dev tap0 2>/dev/null | grep -q 'inet '; do
    if [ "$SECONDS" -gt "$deadline" ] || ! kill -0 "$network_pid" 2>/dev/null; then
      cat "$base/network.log" >&2
      die "slirp4netns could not connect the new Debian to the network."
    fi
    sleep 0.1
  done
}

copy_checkout() {
  mkdir -p "$debian$home/pikaci"
  tar -C "$root" --exclude=./.venv --exclude='./.*_cache' --exclude=__pycache__ -cf - . | tar -C "$debian$home/pikaci" --no-same-owner -xf -
}

# What is done in the new root, first as root.
inside() {
  cat <<'INSIDE'
set -eu
user=$1 home=$2
shift 2
if [ "$user" != root ]; then
  useradd --shell /bin/bash "$user"
  chown -R "$user:" "$home"
  echo "$user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/"$user"
  version=$(nix --version)
  if [ "$(printf '%s\n' 2.18 "${version##* }" | sort -V | head -n 1)" = 2.18 ]; then
    groupadd -f --system nixbld
    for number in 1 2 3 4; do useradd --system --no-create-home --gid nixbld --groups nixbld "pikacibld$number"; done
    mkdir -p /etc/nix /nix/var/nix/daemon-socket
    printf '%s\n' 'experimental-features = nix-command flakes' 'substituters =' 'sandbox = false' >/etc/nix/nix.conf
    nix-daemon >/var/log/nix-daemon.log 2>&1 &
    until [ -S /nix/var/nix/daemon-socket/socket ]; do sleep 0.1; done
  fi
fi
cd "$home/pikaci"
# Not exec: the first process stays root, whom the end of unshare ends; another user's would not be ended.
setpriv --reuid "$user" --regid "$user" --init-groups env "HOME=$home" "USER=$user" "LOGNAME=$user" "$@"
INSIDE
}

run_inside() {
  local passed cgroups=as-here
  mapfile -t passed < <(env | grep -E '^(TERM|https?_proxy|no_proxy|PIP_[A-Z_]+|SSL_CERT_FILE|LANES)=' || true)
  # LXC 7, which Debians after 13 have, starts containers on cgroup v2 alone.
  case $suite in bookworm | trixie) ;; *) cgroups=v2 ;; esac
  # shellcheck disable=SC2016 # for the shell in there
  nsenter --net="/run/netns/$network" unshare --mount --pid --fork --kill-child --ipc --uts --propagation slave sh -euc '
    debian=$1
    cgroups=$2
    shift 2
    mount --bind "$debian" "$debian"
    mount -t proc proc "$debian/proc"
    mount -t sysfs sysfs "$debian/sys"
    if [ "$cgroups" = v2 ]; then
      mount -t cgroup2 cgroup2 "$debian/sys/fs/cgroup"
    else
      mount --rbind /sys/fs/cgroup "$debian/sys/fs/cgroup"
    fi
    mount --rbind /dev "$debian/dev"
    for each in run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$debian/$each"; done
    # Not chroot: in one there are no namespaces to be had.
    cd "$debian"
    pivot_root . mnt
    umount -l mnt
    exec env -i "$@"' sh "$debian" "$cgroups" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${passed[@]}" \
    sh -c "$(inside)" sh "$user" "$home" "$@"
}

say "making Debian $suite in $debian"
make_root
copy_settings
copy_checkout
start_network
code=0
run_inside "$@" || code=$?
exit "$code"

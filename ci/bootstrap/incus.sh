#!/usr/bin/env bash
# A running Incus with what pikaci's jobs need: a btrfs pool in a file, a bridge for jobs that ask for a network, a
# project whose guests have neither network nor anything else of the host by default, and the Debian guest as its image.
# What is there already stays as it is. Says nothing when all is there.
#
# PIKACI_POOL_SIZE  of the pool's file, which takes only what is in it (default 20GiB)
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

name=pikaci
bridge=pikaci0
image=pikaci/dev
log=/var/log/incus/incus.log
ready_secs=60

"$root/ci/bootstrap/incus-packages.sh"
need_root "Setting up Incus"
PATH=$venv/bin:$PATH:$system_programs

incus() { as_root env PATH="$PATH" incus "$@"; }

# Whoever listens answers, unless something is very wrong: then what incus says is the reason.
answers() { incus query /1.0 >/dev/null 2>&1; }

start_daemon() {
  say "starting Incus"
  if [ -d /run/systemd/system ]; then
    as_root systemctl start incus.service
  elif [ -x /etc/init.d/incus ]; then
    as_root /etc/init.d/incus start >&2 </dev/null
  else
    die "Incus doesn't answer, and nothing here says how it is started: start incusd, then try again."
  fi
  as_root env PATH="$PATH" incusd waitready --timeout "$ready_secs" ||
    die "Incus doesn't start; $log may tell why."
}

lacks() { ! incus "$@" >/dev/null 2>&1; }

make_project() {
  say "making Incus's project $name"
  incus project create "$name" -c features.images=true -c features.profiles=true -c features.networks=false >&2
}

make_pool() {
  say "making Incus's pool $name: btrfs, in a file of up to ${PIKACI_POOL_SIZE:-20GiB}"
  incus storage create "$name" btrfs "size=${PIKACI_POOL_SIZE:-20GiB}" >&2
}

# Not Incus's own choice: it asks the network around for a free one, and finds none where nobody answers.
free_address() {
  local routes third
  routes=$(ip -4 route show table all)
  for third in {0..255}; do
    [[ $routes == *"10.158.$third."* ]] || { echo "10.158.$third.1/24" && return; }
  done
  die "all of 10.158.0.0/16 is in use here: make a bridge $bridge with another address, then try again."
}

# Without NAT, where the kernel has none, a guest reaches the host only.
make_bridge() {
  local options
  options=(--type=bridge "ipv4.address=$(free_address)" ipv6.address=none)
  say "making Incus's bridge $bridge"
  incus network create "$bridge" "${options[@]}" ipv4.nat=true >/dev/null 2>&1 ||
    incus network create "$bridge" "${options[@]}" ipv4.nat=false >&2
}

answers || start_daemon
lacks project show "$name" && make_project
lacks storage show "$name" && make_pool
lacks network show "$bridge" && make_bridge
if lacks profile device get default root pool --project "$name"; then
  incus profile device add default root disk path=/ "pool=$name" --project "$name" >&2
fi

guest=$("$root/nix/incus/debian-guest.sh")
# What Incus calls an image.
fingerprint=$(cat "$guest/metadata.tar.xz" "$guest/rootfs.squashfs" | sha256sum | cut -d ' ' -f 1)
incus query "/1.0/images/aliases/$image?project=$name" 2>/dev/null | grep -qF "$fingerprint" ||
  as_root env PATH="$PATH" pikaci image import --alias "$image" --from "$guest" >/dev/null

if ! incus_users=$(getent group incus-admin) || [ "$(id -u)" = 0 ]; then exit 0; fi
id -nG | tr ' ' '\n' | grep -qxF incus-admin ||
  say "to run jobs in guests, join the group ${incus_users%%:*}: sudo usermod -aG incus-admin $(id -un), and log in again"

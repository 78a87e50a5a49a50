#!/usr/bin/env bash
# A Nix that pikaci can use. The machine's own if it is new enough and builds for us; else, on Debian, a private copy of the one that
# Debian 13 packages, in the user's cache, with wrappers in .venv/bin: it has its own settings and changes nothing
# system-wide but /nix. Says nothing when there is nothing to do.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

needed=2.18   # the oldest Nix that pikaci accepts
suite=trixie  # the Debian release whose nix-bin is copied
recipe=1      # count up when what ends up in the copy changes
prefix=$cache/nix-$suite-$(uname -m)-$recipe
tools=(nix-build nix-channel nix-collect-garbage nix-copy-closure nix-daemon nix-env nix-hash nix-instantiate
  nix-prefetch-url nix-shell nix-store)

system_nix_is_new_enough() {
  local version
  version=$(PATH=$(path_outside) nix --version 2>/dev/null) && at_least "${version##* }" "$needed"
}

# own_nix_is_ours: can we build with the machine's own Nix? Stops where only its administrator can change that.
own_nix_is_ours() {
  local group path
  for path in "${NIX_STATE_DIR:-/nix/var/nix}"/daemon-socket{,/socket}; do
    if [ -e "$path" ] && ! { [ -x "$path" ] || [ -w "$path" ]; }; then
      group=$(stat -c %G "$path")
      die "Nix's daemon is for the group $group, and $(id -un) is not in it: run 'sudo usermod -aG $group $(id -un)', log in again, then try again."
    fi
  done
  [ "$(id -u)" = 0 ] || return 0
  group=$(PATH=$(path_outside) nix --extra-experimental-features nix-command config show build-users-group 2>/dev/null) || return 0
  [ -n "$group" ] && ! getent group "$group" >/dev/null || return 0
  [ -e "$prefix" ] || say "the Nix here builds as group $group, which isn't there (nix-setup-systemd makes it): it is not used"
  return 1
}

# relink DIR: make the ELF files in DIR/bin and DIR/lib use the loader and libraries in PREFIX, and only those.
relink() {
  local file loader
  loader=$(cd "$1/lib" && echo ld-linux*)
  for file in "$1"/lib/*; do
    case ${file##*/} in
      ld-linux*|libc.so.*) ;;
      *) patchelf --force-rpath --set-rpath "$prefix/lib" "$file" ;;
    esac
  done
  patchelf --set-interpreter "$prefix/lib/$loader" --force-rpath --set-rpath "$prefix/lib" "$1/bin/nix"
}

# copy_out TREE DIR: the nix binary, its libraries and its loader, out of an unpacked Debian, into DIR.
copy_out() {
  local loaders libs tool
  loaders=("$1"/usr/lib/*-linux-gnu*/ld-linux*.so.*)
  libs=$(dirname "${loaders[0]}")
  mkdir -p "$2"/{bin,lib,etc,libexec/nix}
  cp "$1/usr/bin/nix" "$2/bin/"
  cp -L "${loaders[0]}" "$2/lib/"
  "${loaders[0]}" --library-path "$libs" --list "$1/usr/bin/nix" | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' |
    grep -v '/ld-linux' | xargs cp -L -t "$2/lib"
  chmod -R u+w,go+rX "$2"
  for tool in "${tools[@]}"; do ln -s nix "$2/bin/$tool"; done
  ln -s ../../bin/nix "$2/libexec/nix/build-remote"
}

write_conf() {
  cat >"$1/etc/nix.conf" <<'CONF'
# A Nix for one user, without a daemon and without a binary cache (a cache that can't be reached delays every build by
# seconds). Your own ~/.config/nix/nix.conf, read after this file, has the last word.
experimental-features = nix-command flakes
build-users-group =
substituters =
sandbox = false
sandbox-paths = /bin/sh=/bin/busybox
CONF
}

make_private_copy() (
  if "$prefix/bin/nix" --version >/dev/null 2>&1; then exit 0; fi
  on_debian || die "Nix $needed or later is needed and is not on PATH: install it (https://nixos.org/download), then try again."
  need_root "Unpacking Debian packages"
  say "installing a private copy of Debian $suite's Nix in $prefix (about 50 MB; one minute)"
  install_packages mmdebstrap patchelf debian-archive-keyring util-linux $([ -x /bin/busybox ] || echo busybox-static)
  mirror=$(debian_mirror)
  if [ -z "$mirror" ]; then
    as_root apt-get update -qq >&2
    mirror=$(debian_mirror)
  fi
  [ -n "$mirror" ] || die "apt has no Debian repository configured to take Nix from."
  temp=$(mktemp -d)
  trap 'as_root rm -rf "$temp"; rm -rf "$prefix.new"' EXIT
  apt_network_options >"$temp/apt.conf"
  as_root mmdebstrap --quiet --variant=extract --include=nix-bin \
    --aptopt="$temp/apt.conf" "$suite" "$temp/debian" "$mirror" >"$temp/log" 2>&1 ||
    { cat "$temp/log" >&2; die "mmdebstrap could not unpack nix-bin."; }
  rm -rf "$prefix.new"
  copy_out "$temp/debian" "$prefix.new"
  relink "$prefix.new"
  write_conf "$prefix.new"
  rm -rf "$prefix"
  mv -T "$prefix.new" "$prefix"
  "$prefix/bin/nix" --version >/dev/null || die "the private copy of Nix in $prefix does not run."
)

# A single user's store belongs to that user.
make_store_writable() {
  if [ -w /nix/store ] && [ -w /nix/var/nix ]; then return 0; fi
  [ ! -e /nix/store ] || die "/nix/store exists and is not yours: put the Nix it belongs to on PATH, then try again."
  need_root "Creating /nix"
  say "creating /nix/store and /nix/var/nix for $(id -un)"
  as_root mkdir -p /nix/store /nix/var/nix
  [ "$(id -u)" = 0 ] || as_root chown "$(id -u):$(id -g)" /nix /nix/store /nix/var /nix/var/nix
}

# Nix processes that are the first ones of a store must not begin together: one of them fails. So there is one before.
begin_store() {
  [ -e /nix/var/nix/gcroots/profiles ] || "$@" --extra-experimental-features nix-command store info >/dev/null 2>&1 || true
}

write_wrappers() {
  local tool new
  mkdir -p "$venv/bin"
  for tool in nix "${tools[@]}"; do
    new="#!/bin/sh
export NIX_CONF_DIR='$prefix/etc'
exec '$prefix/bin/$tool' \"\$@\""
    [ "$(cat "$venv/bin/$tool" 2>/dev/null)" = "$new" ] && continue
    printf '%s\n' "$new" >"$venv/bin/.$tool.$$"
    chmod 755 "$venv/bin/.$tool.$$"
    mv "$venv/bin/.$tool.$$" "$venv/bin/$tool"
  done
}

if system_nix_is_new_enough && own_nix_is_ours; then
  rm -f "${tools[@]/#/$venv/bin/}" "$venv/bin/nix"
  begin_store nix
  exit 0
fi
mkdir -p "$cache"
exec 9>"$prefix.lock"
flock 9
make_private_copy
make_store_writable
write_wrappers
begin_store "$venv/bin/nix"

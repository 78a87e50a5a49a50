#!/bin/bash
# Makes a macOS guest ready for a job and becomes its runner: bootstrap.sh VARIABLES [ARGUMENT...]
#
# It lies in the control share, beside the runner (`pikaci-incus-run`), the file VARIABLES that the runner reads, and
# `links` with lines TARGET<tab>PATH: PATH is to lead to TARGET, which is below where macOS mounts shares by itself.
#
# It may run any number of times in a guest. It is for macOS's bash 3.2, as root or a user who may `sudo` all without a
# password. Jobs that aren't root run as that user; if it was root from the start, as the Mac's first one (uid 501).
#
# Its exit code is the runner's, or after a sentence on stderr
#
#   69   something isn't there yet: try again
#   71   it never will be
set -u
umask 022
PATH=/usr/bin:/bin:/usr/sbin:/sbin

own=/private/var/pikaci
tops=$own/root # what the sealed / has no place for
tab=$'\t'
apfs_util=/System/Library/Filesystems/apfs.fs/Contents/Resources/apfs.util

try_again() {
  printf 'bootstrap: %s\n' "$1" >&2
  exit 69
}

give_up() {
  printf 'bootstrap: %s\n' "$1" >&2
  exit 71
}

is_there() { [ -e "$1" ] || [ -L "$1" ]; }

# find_python: into $python one of 3.9 or later.
find_python() {
  local candidates candidate
  candidates=(
    /opt/homebrew/bin/python3
    /usr/local/bin/python3
    /Library/Frameworks/Python.framework/Versions/Current/bin/python3
  )
  # Without the developer tools this one is a window that offers to install them.
  xcode-select -p >/dev/null 2>&1 && candidates+=(/usr/bin/python3)
  for candidate in "${candidates[@]}"; do
    [ -x "$candidate" ] || continue
    python=$candidate
    "$python" -IS -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && return
  done
  give_up "the guest has no Python 3.9 or later: install one in the base VM, with Homebrew or the developer tools"
}

# make_tops PATH...: what is first in each, in /. A line of synthetic.conf has macOS make a link there at once, and again
# whenever the guest boots.
make_tops() {
  local path top conf=/etc/synthetic.conf
  for path in "$@"; do
    top=${path#/}
    top=${top%%/*}
    is_there "/$top" && continue
    if ! awk -v top="$top" '$1 == top { found = 1 } END { exit !found }' "$conf" 2>/dev/null; then
      if [ -s "$conf" ] && [ -n "$(tail -c 1 "$conf")" ]; then echo >>"$conf"; fi
      printf '%s\t%s\n' "$top" "${tops#/}/$top" >>"$conf" || give_up "$conf can't be written to"
    fi
    "$apfs_util" -t >/dev/null 2>&1
    is_there "/$top" || give_up "/$top can't be made: macOS doesn't follow $conf"
  done
}

# place PATH: into $place what to make for PATH to be there.
place() {
  local top=${1#/} target
  top=/${top%%/*}
  target=$(readlink "$top")
  target=/${target#/}
  place=$1
  if [ "$target" = "$tops$top" ] || { [ "$1" = "$top" ] && [ -L "$top" ]; }; then place=$target${1#"$top"}; fi
}

# lead PATH TARGET: have PATH lead to TARGET, or without a TARGET be a directory.
lead() {
  local place
  place "$1"
  if [ -z "$2" ]; then
    mkdir -p "$place" || give_up "the directory $1 can't be made"
    return
  fi
  [ -e "$2" ] || try_again "$2 isn't there yet"
  [ "$(readlink "$place")" = "$2" ] && return
  if [ "$1" = /nix/store ] && [ -d "$place" ]; then
    add_entries "$2" "$place"
    return
  fi
  mkdir -p "${place%/*}/" || give_up "the directory ${1%/*} can't be made"
  if [ -e "$place" ] && [ ! -L "$place" ]; then
    rmdir "$place" 2>/dev/null || give_up "$1 is there already, and nothing can take its place"
  fi
  ln -sfn "$2" "$place" || give_up "$1 can't be made"
}

# add_entries SHARE STORE: those that a store of the guest's own lacks.
add_entries() {
  local entry missing
  missing=()
  for entry in "$1"/*; do
    is_there "$entry" && ! is_there "$2/${entry##*/}" && missing+=("$entry")
    [ ${#missing[@]} -lt 500 ] || add "$2"
  done
  [ ${#missing[@]} -eq 0 ] || add "$2"
}

add() {
  ln -s "${missing[@]}" "$1/" || give_up "the guest's own $1 can't be added to"
  missing=()
}

if [ "$(id -u)" != 0 ]; then
  sudo -n true </dev/null 2>/dev/null || give_up "the guest's user $(id -un) may not sudo without a password"
  exec sudo -n /bin/bash "$0" --user "$(id -un)" "$@"
fi
if [ "${1-}" = --user ]; then
  user=$2
  shift 2
else
  user=$(id -un 501 2>/dev/null)
fi
control=$(cd "$(dirname "$0")" && pwd)
variables=$control/$1
shift
for file in "$control/pikaci-incus-run" "$control/links" "$variables"; do
  [ -e "$file" ] || try_again "$file isn't there yet"
done

find_python
paths=(/workspace) # always a directory, in which the runner makes a writable workspace
targets=("")
while IFS= read -r line || [ -n "$line" ]; do
  targets+=("${line%%"$tab"*}")
  paths+=("${line#*"$tab"}")
done <"$control/links"
make_tops "${paths[@]}"
for number in "${!paths[@]}"; do
  lead "${paths[$number]}" "${targets[$number]}"
done

if grep -q '"PIKACI_INCUS_XCODE"' "$variables"; then
  read='import json, sys; print(json.load(open(sys.argv[1])).get("PIKACI_INCUS_XCODE", ""))'
  xcode=$("$python" -IS -c "$read" "$variables")
  [ -z "$xcode" ] || [ -d "$xcode/Contents/Developer" ] || give_up "the guest has no Xcode at $xcode"
fi
[ -z "$user" ] || export PIKACI_INCUS_USER="$user"
exec "$python" -IS "$control/pikaci-incus-run" --variables "$variables" "$@"

#!/usr/bin/env bash
# man-pages.sh DIR: manual pages of the `pikaci` on PATH and of each of its commands, in DIR, from what --help says.
set -euo pipefail
into=$1
version=$(pikaci --version)
commands=$(python3 -c 'from pikaci.cli import COMMANDS
for name, line in COMMANDS.items(): print(name, line)')
mkdir -p "$into/programs"

# page NAME COMMAND DESCRIPTION: a page is called what its program is, so COMMAND gets one.
page() {
  printf '#!/bin/sh\nexec %s "$@"\n' "$2" >"$into/programs/$1"
  chmod +x "$into/programs/$1"
  help2man --no-info --name "$3" --version-string "${version##* }" --include "$into/see-also" \
    --output "$into/$1.1" "$into/programs/$1"
}

{
  echo '[see also]'
  while read -r name _; do printf '.BR pikaci-%s (1)\n' "$name"; done <<<"$commands"
} >"$into/see-also"
page pikaci pikaci "run CI targets that are defined in Nix"

printf '[see also]\n.BR pikaci (1)\n' >"$into/see-also"
while read -r name line; do page "pikaci-$name" "pikaci $name" "$line"; done <<<"$commands"
rm -r "$into/programs" "$into/see-also"

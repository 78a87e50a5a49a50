#!/usr/bin/env bash
# man-pages.sh DIR PROGRAM...: manual pages of programs on PATH (pikaci, pika-git, ph) and of each of their commands, in DIR,
# from what --help says.
set -euo pipefail
into=$1
shift
version=$(pikaci --version)
mkdir -p "$into/programs"

# page NAME COMMAND DESCRIPTION: a page is called what its program is, so COMMAND gets one.
page() {
  printf '#!/bin/sh\nexec %s "$@"\n' "$2" >"$into/programs/$1"
  chmod +x "$into/programs/$1"
  help2man --no-info --name "$3" --version-string "${version##* }" --include "$into/see-also" \
    --output "$into/$1.1" "$into/programs/$1"
}

# commands PROGRAM: its commands, a line each with what they do.
commands() {
  python3 - "$1" <<'END'
import sys
from importlib import import_module

import click

cli = import_module(sys.argv[1].replace("-", "_") + ".cli")
(group,) = {value for value in vars(cli).values() if isinstance(value, click.Group)}
context = click.Context(group)
for name in group.list_commands(context):
    print(name, group.get_command(context, name).get_short_help_str(200).rstrip("."))
END
}

for program in "$@"; do
  case $program in
    pikaci) what="run CI targets that are defined in Nix" ;;
    pika-git) what="turn pushes into verdicts" ;;
    ph) what="ask a forge about branches and lanes" ;;
  esac
  found=$(commands "$program")
  {
    echo '[see also]'
    while read -r name _; do printf '.BR %s-%s (1)\n' "$program" "$name"; done <<<"$found"
  } >"$into/see-also"
  page "$program" "$program" "$what"
  printf '[see also]\n.BR %s (1)\n' "$program" >"$into/see-also"
  while read -r name line; do page "$program-$name" "$program $name" "$line"; done <<<"$found"
done
rm -r "$into/programs" "$into/see-also"

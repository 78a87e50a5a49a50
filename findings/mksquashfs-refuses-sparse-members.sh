#!/usr/bin/env bash
# mksquashfs 4.6.1 (Debian 13; 4.7.5 of sid too): -tar refuses a file with holes that GNU tar names with a leading "./".
#
# `tar --sparse --format=pax ./f` keeps the member's name in the record GNU.sparse.name. Where names come from the header or
# from a `path` record, a leading "./" is skipped; here it isn't, and the whole image fails with "Tar pathname can't have
# '.' or '..' in it". The same file without holes, or named without "./", is taken. `mmdebstrap --format=tar` writes such
# tars, so whether a root can be piped to mksquashfs depends on whether a program's file happens to have a hole.
# Has to be root, on a Debian.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
cd "$work"
chmod 755 .
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
apt-config dump --no-empty | grep -E '^Acquire::(https?|ftp|Check|Retries)' >apt.conf || true
mmdebstrap --quiet --variant=extract --include=squashfs-tools=1:4.6.1-1 --aptopt=apt.conf trixie debian "$mirror" 2>log ||
  { cat log >&2; exit 1; }
libraries=(debian/usr/lib/*-linux-gnu)
loader=("${libraries[0]}"/ld-linux*.so.*)
mksquashfs() { "${loader[0]}" --library-path "${libraries[0]}" debian/usr/bin/mksquashfs "$@"; }

mkdir files
truncate -s 1M files/holes
echo end >>files/holes
echo none >files/plain
for names in ./holes holes ./plain; do
  rm -f image
  tar --sparse --format=pax -C files -cf names.tar "$names"
  if mksquashfs - image -tar -noappend -quiet -no-progress <names.tar >said 2>&1; then end=taken; else end=$(grep -o 'FATAL.*' said); fi
  echo "$names: $end"
done | tee output
cat >expected <<'TEXT'
./holes: FATAL ERROR: Error: Tar pathname can't have '.' or '..' in it
holes: taken
./plain: taken
TEXT
diff expected output

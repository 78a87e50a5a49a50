#!/usr/bin/env bash
# The guest image made from Debian's packages: the same runner and the same paths as the NixOS image, for machines that
# can't build that one. Prints the directory with metadata.tar.xz and rootfs.squashfs, which it makes in the user's cache
# where they aren't there yet, and `packages`, a line for each package with its version.
# Usage: debian-guest.sh [--suite SUITE] [--packages "NAME ..."] [--recipe | OUTDIR]
#   --packages  Debian packages beside those that every guest has
#   --recipe    only print the image's name, which changes with all that it is made from
#   OUTDIR      where the files are copied to
. "$(dirname "${BASH_SOURCE[0]}")/../../ci/bootstrap/common.sh"

usage='usage: debian-guest.sh [--suite SUITE] [--packages "NAME ..."] [--recipe | OUTDIR]'
suite=bookworm more=() only_recipe=
while [ $# -gt 0 ]; do
  case $1 in
    --suite) suite=${2:?$usage} && shift ;;
    --packages) read -ra more <<<"${2-}" && shift ;;
    --recipe) only_recipe=1 ;;
    -*) die "$usage" ;;
    *) break ;;
  esac
  shift
done
packages=(ca-certificates git iproute2 procps python3 udhcpc util-linux "${more[@]}")
here=$root/nix/incus
runner=$here/pikaci-incus-run.py
# Where pikaci is installed, it is with what macOS guests run.
[ -e "$runner" ] || runner=$root/../../jerichoci/runtime/tart/guest_files/pikaci-incus-run
images=$cache/debian-guest
unused_days=30 # what nobody has asked for that long is removed

hash_of() { sha256sum | cut -c 1-16; }

base=base-$({ uname -m && echo "$suite ${packages[*]}" && cat "${BASH_SOURCE[0]}" "$here"/debian-guest/*; } | hash_of).squashfs
name=debian-guest-$({ echo "$base" && cat "$runner"; } | hash_of)

# All of the guest but /run. The runner is the one thing there, and adding it takes no time: it changes more often.
make_base() (
  [ ! -e "$images/$base" ] || exit 0
  on_debian || die "the Debian guest is made on Debian: build the NixOS one instead (nix build .#incus-image-container)."
  need_root "Unpacking Debian packages"
  mirror=$(debian_mirror)
  if [ -z "$mirror" ]; then
    as_root apt-get update -qq >&2
    mirror=$(debian_mirror)
  fi
  [ -n "$mirror" ] || die "apt has no Debian repository configured to take packages from."
  say "making a Debian guest in $images (about 80 MB; one minute)"
  temp=$(mktemp -d)
  trap 'as_root rm -rf --one-file-system "$temp"' EXIT
  : >"$temp/packages"
  # apt in mmdebstrap reads it as a user of its own.
  chmod 755 "$temp"
  apt_network_options >"$temp/apt.conf"
  cp -r "$here/debian-guest" "$temp/files"
  # Whose files they are in the checkout is of no interest in the guest.
  # No tar between the two: mksquashfs 4.7.5 refuses what GNU tar writes of a file with holes, and mmdebstrap, when its
  # reader ends, ends all of its process group.
  as_root mmdebstrap --format=directory --variant=minbase \
    --include="$(IFS=, && echo "${packages[*]}")" \
    --aptopt="$temp/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook="upload '$temp/files/init' /sbin/init" \
    --customize-hook="chroot \"\$1\" dpkg-query -W -f '\${Package} \${Version}\n' >'$temp/packages'" \
    --customize-hook="chroot \"\$1\" sh -eu -s <'$temp/files/setup.sh'" \
    "$suite" "$temp/debian" "$mirror" >"$temp/log" 2>&1 &&
    as_root mksquashfs "$temp/debian" "$images/$base.new" -comp zstd -Xcompression-level 3 -noappend >>"$temp/log" 2>&1 ||
    { cat "$temp/log" >&2; die "the Debian guest could not be made."; }
  cp "$temp/packages" "$images/$base.packages"
  mv "$images/$base.new" "$images/$base"
)

make_metadata() {
  mkdir "$1"
  # incusd 6.0 goes down when an image without properties is imported with some.
  cat >"$1/metadata.yaml" <<YAML
architecture: $(uname -m)
creation_date: $(date +%s)
properties:
  os: Debian
  release: $suite
  architecture: $(uname -m)
  description: Debian guest of pikaci
  pikaci.wait: "1"
YAML
  tar --create --xz --file "$2" --directory "$1" --owner=0 --group=0 metadata.yaml
}

make_image() (
  new=$images/$name.new
  rm -rf "$new"
  mkdir -p "$new/parts/run/current-system/sw/bin" "$new/parts/run/lock"
  trap 'rm -rf "$new"' EXIT
  chmod 1777 "$new/parts/run/lock"
  install -m 755 "$runner" "$new/parts/run/current-system/sw/bin/pikaci-incus-run"
  cp "$images/$base" "$new/rootfs.squashfs"
  mksquashfs "$new/parts/run" "$new/rootfs.squashfs" -keep-as-directory -all-root -no-recovery >"$new/parts/log" 2>&1 ||
    { cat "$new/parts/log" >&2; die "the runner could not be added to the guest."; }
  cp "$images/$base.packages" "$new/packages"
  make_metadata "$new/parts/metadata" "$new/metadata.tar.xz"
  rm -r "$new/parts"
  mv -T "$new" "$images/$name"
)

ensure_image() (
  install_packages mmdebstrap debian-archive-keyring squashfs-tools util-linux xz-utils
  mkdir -p "$images"
  exec 9>"$images/.lock"
  flock 9
  if [ ! -e "$images/$name" ]; then
    make_base
    make_image
  fi
  touch -c "$images/$name" "$images/$base" "$images/$base.packages"
  find "$images" -mindepth 1 -maxdepth 1 -mtime "+$unused_days" ! -name .lock -exec rm -rf {} +
)

if [ -n "$only_recipe" ]; then
  echo "$name"
  exit
fi
ensure_image
if [ -n "${1:-}" ]; then
  mkdir -p "$1"
  cp "$images/$name"/* "$1/"
fi
echo "$images/$name"

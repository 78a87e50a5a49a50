#!/usr/bin/env bash
# Incus for containers, and what makes a guest image. Debian 12 has it in its backports. Starts and sets up nothing
# (where there is systemd, Debian's package has it start Incus). Says nothing when nothing is missing.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

backports=/etc/apt/sources.list.d/pikaci-backports.sources

has() { PATH=$PATH:$system_programs command -v "$1" >/dev/null; }

wanted=()
has incus && has incusd || wanted+=(incus-base)
has mkfs.btrfs || wanted+=(btrfs-progs)
has dnsmasq || wanted+=(dnsmasq-base)
has ip || wanted+=(iproute2)
has mksquashfs && has unsquashfs || wanted+=(squashfs-tools)
has xz || wanted+=(xz-utils)
has mmdebstrap || wanted+=(mmdebstrap debian-archive-keyring)
[ ${#wanted[@]} -gt 0 ] || exit 0
on_debian || die "missing: ${wanted[*]}. Install them with this system's package manager, then try again."

# apt_has SUITE: does apt know the suite?
apt_has() {
  # shellcheck disable=SC2016 # apt expands these
  apt-get indextargets --format '$(CODENAME) $(COMPONENT)' 'Created-By: Packages' | grep -qxF "$1 main"
}

add_backports() {
  local suite=$debian_codename-backports mirror
  apt_has "$suite" && return 0
  say "adding Debian's suite $suite to apt, for Incus: $backports"
  need_root "Adding a suite to apt"
  mirror=$(debian_mirror)
  if [ -z "$mirror" ]; then
    as_root apt-get update -qq >&2
    mirror=$(debian_mirror)
  fi
  [ -n "$mirror" ] || die "apt has no Debian repository configured to find the backports beside."
  as_root tee "$backports" >/dev/null <<SOURCES
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
  # Other repositories that can't be reached are of no interest.
  as_root apt-get update -qq >&2 || true
  if ! apt_has "$suite"; then
    as_root rm -f "$backports"
    die "apt can't fetch $suite: Incus 6.0 or later has to come from elsewhere."
  fi
}

# Nothing else has Incus for Debian 12: apt takes it from the backports, and nothing more than it needs from there.
[[ " ${wanted[*]} " != *" incus-base "* || $debian_codename != bookworm ]] || add_backports
install_packages "${wanted[@]}"
has incusd || die "Incus was installed, and there is no incusd."

# shellcheck shell=bash
# What the bootstrap scripts share. Sourced, never run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
venv=$root/.venv
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pikaci
# Where programs of root's are that a user's PATH may not have.
system_programs=/usr/local/sbin:/usr/sbin:/sbin:/usr/libexec/incus
export root venv cache system_programs

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The PATH without this checkout's own .venv: what the machine itself has.
path_outside() { tr : '\n' <<<"$PATH" | grep -vxF "$venv/bin" | paste -sd:; }

# at_least HAVE WANT: is version HAVE at least WANT?
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# need_root WHY: stop here, with a sentence, where we can't become root; sudo may ask for a password now, and not later.
need_root() {
  [ "$(id -u)" != 0 ] || return 0
  command -v sudo >/dev/null || die "$1 needs root: run this as root, or install sudo."
  sudo -n true 2>/dev/null || sudo -v || die "$1 needs root, and sudo does not give it to $(id -un): run this as root."
}

# as_root COMMAND...: run as root, by sudo if that is what it takes. Ask need_root first.
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# on_debian: succeeds on Debian itself; sets debian_codename (bookworm).
on_debian() {
  local ID='' VERSION_CODENAME=''
  # shellcheck source=/dev/null
  [ ! -r /etc/os-release ] || . /etc/os-release
  export debian_codename=$VERSION_CODENAME
  [ "$ID" = debian ] && command -v apt-get >/dev/null
}

# install_packages NAME...: install those that are missing, after saying which.
install_packages() {
  local name missing=()
  for name in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  need_root "Installing Debian packages (${missing[*]})"
  say "installing Debian packages: ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive sh -c \
    'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"' sh "${missing[@]}" \
    >&2 </dev/null
}

# The mirror that apt uses for this machine's own release, whatever third-party repositories are configured beside it; on
# sid, which calls itself the next release, that of the release that apt has.
debian_mirror() {
  # shellcheck disable=SC2016 # apt expands these
  apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk -v release="$debian_codename" '
      $2 != "Debian" || $4 != "main" || $3 ~ /-/ { next }
      !found || $3 == release { found = $1 }
      $3 == release { exit }
      END { if (found) print found }'
}

# apt's own ways to the network (a proxy, a certificate), as mmdebstrap wants them.
apt_network_options() { apt-config dump --no-empty | grep -E '^Acquire::(https?|ftp|Check|Retries)' || true; }

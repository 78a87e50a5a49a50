#!/usr/bin/env bash
# packages.sh [dev]: what running pikaci needs of the machine besides Nix and Python packages; with `dev`, what its tests
# need, too. Says nothing when nothing is missing.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

git_is_new_enough() {
  local version
  version=$(git --version 2>/dev/null) && at_least "${version##* }" 2.39
}

python_is_new_enough() {
  PATH=$(path_outside) python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

wanted=()
git_is_new_enough || wanted+=(git)
python_is_new_enough || wanted+=(python3 python3-venv)
command -v unshare >/dev/null && command -v setpriv >/dev/null && command -v flock >/dev/null || wanted+=(util-linux)
if [ "${1-}" = dev ]; then
  for program in age jq slirp4netns zsh fish mandoc cargo cmake; do
    command -v "$program" >/dev/null || wanted+=("$program")
  done
  command -v ip >/dev/null || [ -x /usr/sbin/ip ] || [ -x /sbin/ip ] || wanted+=(iproute2)
  command -v cc >/dev/null || wanted+=(gcc libc6-dev)
  command -v go >/dev/null || wanted+=(golang-go)
  /usr/bin/python3 -c "import pytest" 2>/dev/null || wanted+=(python3-pytest)
  command -v node >/dev/null || wanted+=(nodejs)
fi
[ "${1-}" != dev ] || PATH=$PATH:$system_programs command -v chattr >/dev/null || wanted+=(e2fsprogs)
[ "${1-}" != dev ] || PATH=$PATH:$system_programs command -v nft >/dev/null || wanted+=(nftables)

[ ${#wanted[@]} -gt 0 ] || exit 0
on_debian || die "missing: ${wanted[*]}. Install them with this system's package manager, then try again."
install_packages "${wanted[@]}"
git_is_new_enough || die "git 2.39 or later is needed; found: $(git --version 2>&1)."
python_is_new_enough || die "Python 3.11 or later with venv is needed; found: $(python3 --version 2>&1)."

#!/usr/bin/env bash
# Lock what pyproject.toml asks for in ci/requirements/{run,forge,dev}.txt, and the oldest that it takes in minimum.txt. Needs
# the dev environment. --upgrade takes newer ones.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cd "$root"
"$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
  die "the lock files are for Python 3.11, the oldest supported; .venv has $("$venv/bin/python" --version)."

# lock KIND SOURCE OPTION...: nothing about this machine (indexes, paths, options) may end up in the file.
lock() {
  local kind=$1 source=$2
  shift 2
  say "locking ci/requirements/$kind.txt"
  CUSTOM_COMPILE_COMMAND="make lock" "$venv/bin/pip-compile" --quiet --generate-hashes --strip-extras --allow-unsafe \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
    --cache-dir "$cache/pip-tools" --output-file "ci/requirements/$kind.txt" "$@" "$source"
}

# Installing the checkout in place needs the build backend: in run.txt as a build dependency, in dev.txt by name.
# Each is constrained to the versions in the one before, so that one environment serves them all.
lock run pyproject.toml --build-deps-for editable "$@"
lock forge pyproject.toml --extra forge --build-deps-for editable --constraint ci/requirements/run.txt "$@"
lock dev pyproject.toml --extra forge --extra dev --constraint ci/requirements/forge.txt "$@"

# What pyproject.toml names, as old as it may be; the rest as in run, as far as that goes with it.
oldest() {
  "$venv/bin/python" -c 'import tomllib
for name in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]: print(name.replace(">=", "=="))'
}
cp ci/requirements/run.txt ci/requirements/minimum.txt
lock minimum - < <(oldest)

#!/usr/bin/env bash
# .venv/minimum: the oldest Python packages that pyproject.toml takes, as ci/requirements/minimum.txt locks them. What
# tests need besides is that of .venv. Says nothing when all is there.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

minimum=$venv/minimum
wanted=$(sha256sum <"$root/ci/requirements/minimum.txt")

exec 9<"$root"
flock 9
[ "$(cat "$minimum/.installed" 2>/dev/null)" != "$wanted" ] || exit 0
# The oldest pydantic has nothing for a Python that is younger than it.
"$venv/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 14))' || exit 0

say "installing the oldest Python packages that will do, in .venv/minimum"
export PIP_CACHE_DIR=${PIP_CACHE_DIR:-$cache/pip} PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
"$venv/bin/python" -m venv --clear --without-pip "$minimum"
"$venv/bin/python" -m pip --python "$minimum/bin/python" install -qq --require-hashes -r "$root/ci/requirements/minimum.txt"
packages() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
echo "import site; site.addsitedir('$(packages "$venv")')" >"$(packages "$minimum")/tests.pth"
echo "$wanted" >"$minimum/.installed"

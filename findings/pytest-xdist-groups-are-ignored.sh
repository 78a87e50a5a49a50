#!/usr/bin/env bash
# pytest-xdist 3.8.0 with pytest 9.2.0: `--dist loadgroup` runs the tests of one group on several workers.
#
# A worker adds `@group` to a test's name by setting `item._nodeid`. pytest 9.2.0 makes the name from another attribute, so
# that the suffix is lost, and the controller, which finds groups by it, sees none. Nothing is printed, and all tests pass:
# only what a group shares is made once a worker. With pytest 9.1.1 the group is on one worker. What still works is a
# scheduler of one's own (`pytest_xdist_make_scheduler`), which may group by the test's file.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir tests
cat >tests/test_group.py <<'PY'
import os
from pathlib import Path

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(12))
def test_it(number, worker_id):
    Path(os.environ["WORKERS"], worker_id).touch()
PY
for version in 9.1.1 9.2.0; do
  python3 -m venv "venv-$version"
  "venv-$version/bin/pip" install -q --disable-pip-version-check "pytest==$version" pytest-xdist==3.8.0 execnet==2.1.1
  mkdir "workers-$version"
  WORKERS=$work/workers-$version "venv-$version/bin/pytest" -q -p no:cacheprovider -n 3 --dist loadgroup tests >"log-$version"
  grep -q '^12 passed' "log-$version"
  echo "pytest $version: $(find "workers-$version" -type f | wc -l) of 3 workers"
done | tee seen
cat >expected <<'TEXT'
pytest 9.1.1: 1 of 3 workers
pytest 9.2.0: 3 of 3 workers
TEXT
diff expected seen

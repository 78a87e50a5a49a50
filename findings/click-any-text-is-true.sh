#!/usr/bin/env bash
# click 8.2.0 and 8.2.1: any text that isn't empty in the environment variable of a boolean flag is true, `0` and `no` too.
#
# 8.1.8 reads `0`, `no`, `false`, `off` as false and refuses what is no boolean, and 8.2.2 does so again. In between,
# `X_FLAG=0` switches the flag on, and so does a slip of the pen. For a flag with two names, `--on/--off`, it is the same.
# 8.2.2 itself is yanked from the index, for another change to flags, so `click>=8.2` alone means 8.2.1 or 8.3; Debian 13
# ships 8.2.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv

cat >ask.py <<'PY'
import click


@click.command()
@click.option("--flag", is_flag=True, envvar="X_FLAG")
@click.option("--on/--off", envvar="X_ON")
def ask(flag, on):
    print(flag, on)


ask()
PY
ask() { { X_FLAG=$1 X_ON=$1 venv/bin/python ask.py 2>&1 || true; } | tail -n 1 | cut -c1-55; }
for version in 8.1.8 8.2.0 8.2.1 8.2.2 8.3.0; do
  venv/bin/pip install -q --disable-pip-version-check "click==$version" 2>/dev/null
  for text in no flase; do echo "$version $text: $(ask "$text")"; done
done | tee seen
cat >expected <<'TEXT'
8.1.8 no: False False
8.1.8 flase: Error: Invalid value for '--flag': 'flase' is not a val
8.2.0 no: True True
8.2.0 flase: True True
8.2.1 no: True True
8.2.1 flase: True True
8.2.2 no: False False
8.2.2 flase: Error: Invalid value for '--flag': 'flase' is not a val
8.3.0 no: False False
8.3.0 flase: Error: Invalid value for '--flag': 'flase' is not a val
TEXT
diff expected seen

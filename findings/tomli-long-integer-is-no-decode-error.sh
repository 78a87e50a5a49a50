#!/usr/bin/env bash
# tomli 2.5.0 (and tomllib): an integer of more than 4,300 digits raises ValueError, not TOMLDecodeError.
#
# TOML sets no length; a parser must refuse what it can't hold. tomli hands the digits to int(), whose own limit
# (sys.get_int_max_str_digits) speaks: a plain ValueError that names neither file, line nor column, and advises to call a
# function of sys. `except TOMLDecodeError` doesn't catch it. The limit is for decimal digits: a hexadecimal integer of 5,000
# digits is read. A float out of range is read as infinity.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check tomli==2.5.0

cat >ask.py <<'PY'
import tomli

for name, text in (("4300", "1" * 4300), ("4301", "1" * 4301), ("hex", "0x" + "1" * 5000), ("float", "1e999")):
    try:
        value = tomli.loads(f"a = {text}")["a"]
        print(name, type(value).__name__, value if isinstance(value, float) else "")
    except ValueError as error:
        print(name, type(error).__name__, isinstance(error, tomli.TOMLDecodeError), str(error)[:40])
PY
cat >expected <<'TEXT'
4300 int 
4301 ValueError False Exceeds the limit (4300 digits) for inte
hex int 
float float inf
TEXT
venv/bin/python ask.py | tee seen
diff expected seen

#!/usr/bin/env bash
# asyncssh 2.24.0: a comment at the end of a `Host` line is read as more host patterns.
#
# OpenSSH (ssh_config(5); seen with 9.2) ends a line of its configuration at a `#` that begins a word. asyncssh takes
# comments on lines of their own only. After `Host work # not like far` the section therefore holds for `far` as well, and
# `far` gets the port of `work`: no error, another server. On a line with one value the same comment is an error.
# Beside it: a time such as `1m` is refused, and `%h` in UserKnownHostsFile stays as it is.
# `ssh -G far` says for the five texts below: port 2; port 2; port 2; connecttimeout 60; userknownhostsfile hosts.far.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncssh==2.24.0

cat >ask.py <<'PY'
from pathlib import Path

from asyncssh.config import ConfigParseError, SSHClientConfig

TEXTS = (
    "Host work # not like far\nPort 1\nHost far\nPort 2\n",
    "# a line of its own\nHost far\nPort 2\n",
    "Host far\nPort 2 # the second\n",
    "Host far\nConnectTimeout 1m\n",
    "Host far\nUserKnownHostsFile hosts.%h\n",
)
for text in TEXTS:
    Path("config").write_text(text)
    try:
        config = SSHClientConfig.load(None, ["config"], False, False, False, "me", (), "far", ())
        names = ("Port", "ConnectTimeout", "UserKnownHostsFile")
        print({name: config.get(name) for name in names if config.get(name) is not None})
    except ConfigParseError as error:
        print(error)
PY
cat >expected <<'TEXT'
{'Port': 1}
{'Port': 2}
config line 2: Extra data at end: # the second
config line 2: Invalid ConnectTimeout integer value: 1m
{'UserKnownHostsFile': ['hosts.%h']}
TEXT
venv/bin/python ask.py | tee seen
diff expected seen

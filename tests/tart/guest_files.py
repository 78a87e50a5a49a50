"""What a VM has that this machine hasn't: a layer above this machine's files, made at every boot.

As on a Mac `/` and `/usr` can't be written to, there is no `/nix` and no `/run`, and `/tmp` and
`/var` are links.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

ADMIN, STAFF, ADMINS = 501, 20, 80
HIDDEN = Path(".guest")
"""Where the VM's machinery is: what Macs have in their kernel."""

SEEN = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc")
"""What is this machine's."""

WRITABLE = ("private", "etc", "Users", "Library", "Applications", "opt", "Volumes", "usr/local")

DIRECTORIES = (
    *WRITABLE,
    "dev",
    "proc",
    "usr/bin",
    "usr/sbin",
    "System/Volumes/Data",
    "System/Library/Filesystems/apfs.fs/Contents/Resources",
    "Library/Developer/CommandLineTools",
    "private/tmp",
    "private/var/db",
    "private/var/log",
    "private/var/root",
    "private/var/run",
    "private/var/tmp",
    "Users/admin",
    "opt/homebrew/bin",
    "usr/local/bin",
    str(HIDDEN / "root"),
    str(HIDDEN / "old"),
)
OPAQUE = ("opt", "usr/local")
LINKS = ("tmp", "var")

PASSWD = (
    "root:x:0:0:System Administrator:/var/root:/bin/sh",
    f"admin:x:{ADMIN}:{STAFF}:Managed via Tart:/Users/admin:/bin/bash",
)
GROUP = ("wheel:x:0:root", f"staff:x:{STAFF}:root,admin", f"admin:x:{ADMINS}:root,admin")

UNAME = """#!/bin/sh
case "$*" in
  "" | -s) echo Darwin ;;
  -m | -p) echo arm64 ;;
  -sm | "-s -m") echo Darwin arm64 ;;
  -r) echo 24.5.0 ;;
  *) exec REAL "$@" ;;
esac
"""

SUDO = f"""#!/bin/sh
if ! [ -x /{HIDDEN}/become ]; then
  echo "sudo: a password is required" >&2
  exit 1
fi
[ "$1" != -n ] || shift
case "$1" in "" | -*) echo "usage: sudo [-n] command" >&2; exit 1 ;; esac
exec /{HIDDEN}/become --reuid=0 --regid=0 --groups=0,{STAFF},{ADMINS} -- \\
  /usr/bin/env -i PATH="$PATH" HOME=/var/root ${{TERM+TERM="$TERM"}} USER=root LOGNAME=root \\
  SUDO_USER="$(/usr/bin/id -un)" SUDO_UID="$(/usr/bin/id -u)" SUDO_GID="$(/usr/bin/id -g)" "$@"
"""

# What it ends with means nothing there either.
APFS_UTIL = f"""#!/bin/sh
[ "$1" = -t ] && [ "$(/usr/bin/id -u)" = 0 ] && [ -r /etc/synthetic.conf ] || exit 253
tab=$(printf '\\t')
while IFS=$tab read -r name target; do
  case "$name" in "" | "#"* | */* | *" "*) continue ;; esac
  [ -e "/$name" ] || [ -L "/$name" ] && continue
  if [ "$target" ]; then
    ln -s "$target" "/{HIDDEN}/root/$name"
  else
    mkdir "/{HIDDEN}/root/$name"
  fi
done </etc/synthetic.conf
exit 253
"""

XCODE_SELECT = """#!/bin/sh
[ "$1" = -p ] || [ "$1" = --print-path ] || exit 64
echo "${DEVELOPER_DIR:-/Library/Developer/CommandLineTools}"
"""

SHUTDOWN = """#!/bin/sh
[ "$(/usr/bin/id -u)" = 0 ] || { echo "shutdown: NOT super-user" >&2; exit 1; }
kill -TERM 1
"""


def write(root: Path, guest: dict[str, Any]) -> None:
    """Write all of it below an empty directory; `guest` is what a base says of its VMs."""
    os.umask(0o022)
    for directory in DIRECTORIES:
        root.joinpath(directory).mkdir(parents=True, exist_ok=True)
    for directory in OPAQUE:
        os.setxattr(root / directory, "trusted.overlay.opaque", b"y")
    for name in os.listdir("/"):  # noqa: PTH208 - names only
        if name not in (*SEEN, *LINKS) and not root.joinpath(name).exists():
            _hide(root / name)
    for link in LINKS:
        root.joinpath(link).symlink_to(f"private/{link}")
    for directory in ("private/tmp", "private/var/tmp"):
        root.joinpath(directory).chmod(0o1777)
    root.joinpath("private/var/root").chmod(0o700)
    os.chown(root / "Users/admin", ADMIN, STAFF)
    for directory in ("opt/homebrew", "opt/homebrew/bin"):
        os.chown(root / directory, ADMIN, ADMINS)
    _write_accounts(root / "etc")
    _write_programs(root, guest)
    for path, content in guest.get("files", {}).items():
        file = root / path.lstrip("/")
        _unhide(root, file)
        file.write_text(content)
        file.chmod(0o755)


def _hide(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def _unhide(root: Path, file: Path) -> None:
    """Have a directory for it, with nothing that this machine has there."""
    top = root / file.relative_to(root).parts[0]
    if top.is_char_device():
        top.unlink()
        top.mkdir()
        os.setxattr(top, "trusted.overlay.opaque", b"y")
    file.parent.mkdir(parents=True, exist_ok=True)


def _write_accounts(etc: Path) -> None:
    for name, ours in (("passwd", PASSWD), ("group", GROUP)):
        taken = {word for line in ours for word in line.split(":")[:3:2]}
        lines = Path("/etc", name).read_text().splitlines()
        others = [line for line in lines if not taken.intersection(line.split(":")[:3:2])]
        etc.joinpath(name).write_text("\n".join([*ours, *others, ""]))


def _write_programs(root: Path, guest: dict[str, Any]) -> None:
    hidden = root / HIDDEN
    hidden.chmod(0o711)
    if guest.get("sudo", True):
        _copy("setpriv", hidden / "become", 0o4750)
        os.chown(hidden / "become", 0, ADMINS)
        hidden.joinpath("become").chmod(0o4750)
    _copy("uname", hidden / "uname", 0o755)
    programs = {
        "usr/bin/sudo": SUDO,
        "usr/bin/uname": UNAME.replace("REAL", f"/{HIDDEN}/uname"),
        "usr/bin/xcode-select": XCODE_SELECT,
        "usr/sbin/shutdown": SHUTDOWN,
        "System/Library/Filesystems/apfs.fs/Contents/Resources/apfs.util": APFS_UTIL,
    }
    for path, script in programs.items():
        file = root / path
        file.write_text(script)
        file.chmod(0o755)
    _hide(root / "usr/bin/mount")


def _copy(program: str, path: Path, mode: int) -> None:
    real = shutil.which(program, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if real is None:
        raise FileNotFoundError(program)
    shutil.copyfile(real, path)
    path.chmod(mode)

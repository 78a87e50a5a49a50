"""What `bootstrap.sh` sees of a macOS guest, made of this machine in namespaces of its own."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from guest.guest import RUNNER
from privilege import only_root_can

if TYPE_CHECKING:
    from types import TracebackType

BOOTSTRAP = RUNNER.parents[1] / "tart" / "bootstrap.sh"
SHARES = "/Volumes/My Shared Files"
CONTROL = f"{SHARES}/pikaci"
SYNTHETIC = "/etc/synthetic.conf"
ADMIN, STAFF = 501, 20
COMMAND_SECS = 60
ENDED_SECS = 30

PASSWD = f"root:x:0:0:root:/root:/bin/bash\nadmin:x:{ADMIN}:{STAFF}::/Users/admin:/bin/bash\n"
ABSENT = ("nix", "workspace", "artifacts", "staged", "opt/homebrew", "usr/local/bin/python3")

SUDO = """#!/bin/sh
[ ! -e /host/no-sudo ] && [ "$1" = -n ] || { echo 'sudo: a password is required' >&2; exit 1; }
shift
exec /usr/bin/as-root --reuid 0 --regid 0 --clear-groups env -i PATH="$PATH" SUDO_USER=admin "$@"
"""
XCODE_SELECT = """#!/bin/sh
[ ! -e /host/no-developer-tools ] && echo /Library/Developer/CommandLineTools
"""
# Its exit code means nothing.
APFS_UTIL = r"""#!/bin/sh
[ "$1" = -t ] && [ ! -e /host/no-synthetic ] || exit 1
while IFS="$(printf '\t')" read -r name target || [ -n "$name" ]; do
  [ -e "/$name" ] || [ -L "/$name" ] || [ -z "$target" ] || ln -s "$target" "/$name"
done < /etc/synthetic.conf
exit 253
"""
PROGRAMS = {
    "usr/bin/sudo": SUDO,
    "usr/bin/xcode-select": XCODE_SELECT,
    "System/Library/Filesystems/apfs.fs/Contents/Resources/apfs.util": APFS_UTIL,
}

BOOT = """
set -eu
cd "$1"
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
mount --bind host root/host
mount --bind shares "root/Volumes/My Shared Files"
mount --rbind /dev root/dev
mount -t proc proc root/proc
exec chroot root sh -c 'echo; exec cat > /dev/null'
"""


class Mac:
    """A guest that has booted; ends with the block."""

    def __init__(self, directory: Path) -> None:
        only_root_can("boot a guest")
        self._directory = directory
        self.host = directory / "host"
        self.shares = directory / "shares"
        self.control = self.shares / "pikaci"
        for name in (f"upper{SHARES}", "upper/private/var", "work", "root", "host"):
            (directory / name).mkdir(parents=True)
        self.control.mkdir(parents=True)
        upper = directory / "upper"
        for name, text in {**PROGRAMS, "etc/passwd": PASSWD}.items():
            path = upper / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        shutil.copy("/usr/bin/setpriv", upper / "usr" / "bin" / "as-root")
        (upper / "usr" / "bin" / "as-root").chmod(0o4755)
        for name in ABSENT:
            (upper / name).parent.mkdir(parents=True, exist_ok=True)
            os.mknod(upper / name, stat.S_IFCHR)  # how an overlay hides what is below it
        (upper / "host").mkdir()
        shutil.copy(BOOTSTRAP, self.control / "bootstrap.sh")
        shutil.copy(RUNNER, self.control / "pikaci-incus-run")
        self.write_control()

    def __enter__(self) -> Self:
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        self._process = subprocess.Popen(
            [*unshare, "sh", "-c", BOOT, "-", str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"\n"
        pid = self._process.pid
        self._first = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(ENDED_SECS)
        self._process.stdout.close()

    def at(self, path: str) -> Path:
        """A path of the guest's, seen from here; links in it lead astray."""
        return Path(f"/proc/{self._first}/root{path}")

    def share(self, name: str) -> Path:
        """A new directory that the guest has as a share."""
        directory = self.shares / name
        directory.mkdir()
        return directory

    def write_control(self, *links: str, name: str = "job.json", **variables: str) -> None:
        """Write what the host says in the control share; a link is its target, a tab, its path."""
        (self.control / "links").write_text("".join(f"{link}\n" for link in links))
        values = {"CONTRACT": "1", "MOUNTS": "", **variables}
        (self.control / name).write_text(
            json.dumps({f"PIKACI_INCUS_{key}": value for key, value in values.items()})
        )

    def replace_runner(self, script: str) -> None:
        """Have another program in the runner's place, of Python."""
        (self.control / "pikaci-incus-run").write_text(script)

    def execute(
        self, *argv: str, user: int = ADMIN, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as the guest's agent does."""
        group = STAFF if user else 0
        enter = ["nsenter", f"--target={self._first}", "--mount", "--pid", "--root", "--wd"]
        become = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        return subprocess.run(
            [*enter, *become, "env", "-i", "PATH=/usr/bin:/bin", *argv],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECS,
        )

    def bootstrap(
        self, *arguments: str, user: int = ADMIN, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the bootstrap as the host asks for it."""
        file = arguments or ("job.json",)
        return self.execute("/bin/bash", f"{CONTROL}/bootstrap.sh", *file, user=user, stdin=stdin)

    def sh(self, script: str) -> str:
        """What a shell line prints, run by the guest's root."""
        done = self.execute("/bin/sh", "-c", script, user=0)
        assert done.returncode == 0, done.stderr
        return done.stdout

"""A number, a directory and a lock for each far host: what tells those of parallel tests apart.

Whoever takes a slot first removes what killed tests have left: the directories whose lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from privilege import only_root_can

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = Path("/var/tmp/pikaci-remote")  # noqa: S108 - it is checked
"""Not below the home directory: guests' users must get through."""
LOCK = BASE / "lock"
SLOTS = 1 << 14
"""As many networks of four addresses as 10.213.0.0/16 has."""

REMOVE_SECS = 120


@dataclass(frozen=True)
class Slot:
    """What one far host has for itself on this machine."""

    number: int

    @property
    def directory(self) -> Path:
        return BASE / f"{self.number:04x}"

    @property
    def lock(self) -> Path:
        return self.directory.with_suffix(".lock")

    @property
    def interface(self) -> str:
        """What this machine's end of the cable is called."""
        return f"pkr{self.number:04x}"

    @property
    def here(self) -> str:
        """This machine's address on the cable."""
        return self._address(1)

    @property
    def there(self) -> str:
        """The far host's address."""
        return self._address(2)

    def _address(self, last: int) -> str:
        third, fourth = divmod(4 * self.number, 256)
        return f"10.213.{third}.{fourth + last}"

    def remove(self) -> None:
        """Remove the directory, and whatever is mounted below it first."""
        for mount in reversed(mounts_below(self.directory)):
            subprocess.run(["umount", "--lazy", mount], check=True)
        argv = ["rm", "-rf", "--one-file-system", str(self.directory)]
        subprocess.run(argv, check=True, timeout=REMOVE_SECS)


@contextlib.contextmanager
def own_slot() -> Iterator[Slot]:
    """A slot that nobody else has, and nothing of its directory afterwards."""
    only_root_can("make hosts")
    BASE.mkdir(mode=0o711, exist_ok=True)
    assert BASE.lstat().st_uid == os.geteuid(), f"{BASE} belongs to somebody else"
    with contextlib.ExitStack() as stack:
        with LOCK.open("w") as everybody:
            fcntl.flock(everybody, fcntl.LOCK_EX)
            for other in sorted(BASE.glob("*.lock")):
                remove_if_left(Slot(int(other.stem, 16)))
            slot = free_slot()
            lock = stack.enter_context(slot.lock.open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        slot.directory.mkdir(mode=0o711)
        try:
            yield slot
        finally:
            slot.remove()
            slot.lock.unlink()


def free_slot() -> Slot:
    while True:
        slot = Slot(secrets.randbelow(SLOTS))
        taken = (slot.lock, slot.directory, Path("/sys/class/net", slot.interface))
        if not any(path.exists() for path in taken):
            return slot


def remove_if_left(slot: Slot) -> None:
    """Remove what killed tests left; their processes and networks ended with them."""
    with slot.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        # Where a process still ends, the next one tries again.
        with contextlib.suppress(subprocess.CalledProcessError):
            slot.remove()
            slot.lock.unlink()


def mounts_below(directory: Path) -> list[str]:
    """What this machine has mounted below a directory."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if point.startswith(f"{directory}/")]


def program(name: str) -> str:
    """Where a program of root's is."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    assert found is not None, f"there is no {name}: ci/bootstrap/ssh-packages.sh installs it"
    return found

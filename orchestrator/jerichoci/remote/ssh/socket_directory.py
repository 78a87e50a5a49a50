"""Directories for sockets that lead to other machines, found again when their process was killed.

All are in one directory of the user's, `$TMPDIR/pikaci-<uid>`, since a socket's path is short. Each
is locked by its process; one whose lock is free was left by a process that died.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, is_disk_full
from jerichoci.state.lock import lock_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 80
"""Of the directory's path; a socket's has 107 at most."""
OLD_TMP = "/tmp"  # noqa: S108 - what is made there is the user's alone


@contextmanager
def socket_directory() -> Iterator[Path]:
    """A directory for sockets, removed with the block."""
    base = socket_base()
    with ExitStack() as stack:
        try:
            base.mkdir(mode=0o700, exist_ok=True)
            found = base.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise InfrastructureError(
                    f"{base} is not our directory", "remove it, or set another TMPDIR"
                )
            # `remove_stale_sockets` looks for free locks only without this one.
            with lock_directory(base, shared=True, wait=True):
                made = Path(tempfile.mkdtemp(prefix="", dir=base))
                stack.enter_context(lock_directory(made, shared=True))
        except OSError as error:
            raise InfrastructureError(
                f"could not make a directory for sockets in {base}: {error.strerror}",
                f"{'make room there, or ' if is_disk_full(error) else ''}set another TMPDIR",
            ) from error
        stack.callback(shutil.rmtree, made, ignore_errors=True)
        yield made


def remove_stale_sockets() -> list[str]:
    """Remove the directories of processes that died; their names."""
    base = socket_base()
    removed: list[str] = []
    with suppress(FileNotFoundError), lock_directory(base, wait=True):
        for path in base.iterdir():
            with lock_directory(path) as is_unused:
                if is_unused:
                    shutil.rmtree(path, ignore_errors=True)
                    removed.append(path.name)
    return sorted(removed)


def socket_base() -> Path:
    """Where this user's are."""
    places = [Path(place) / f"pikaci-{os.getuid()}" for place in (tempfile.gettempdir(), OLD_TMP)]
    return next((path for path in places if len(os.fsencode(path)) <= MOST_BYTES), places[-1])

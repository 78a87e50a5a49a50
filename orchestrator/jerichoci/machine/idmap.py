"""Has root's jobs see snapshots as root's, which on the disk are those of the user in guests.

A mount namespace in which the directory of snapshots is covered by itself, with the two users and
their groups exchanged: that costs nothing per file. Jobs enter it by an open descriptor of ours.
It needs Linux 5.19 and a file system that has such mounts.

As a program, with that directory as its argument, this tries it. It exits with `CANNOT` if the file
system can't.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

GUEST_UID, GUEST_GID = 1000, 100
"""Whom a root's snapshots belong to: user and group of jobs in guests, whose overlay over the
snapshot lets them change what is theirs."""

CLONE_NEWNS = 0x20000
MS_REC, MS_SLAVE = 0x4000, 1 << 19
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
"""System calls, by the numbers that they have on all of Linux's machines but one."""
HERE = -100
CLONE, EMPTY_PATH, FROM_EMPTY_PATH, IDMAP = 1, 0x1000, 4, 0x100000
HOLDER = ("unshare", "--user", "cat")
"""Is in a user namespace of its own from when it answers until its stdin is closed."""
CANNOT = 3


def show_as_own(directory: str) -> None:
    """Cover a directory by itself, in a mount namespace that this thread makes for itself."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: object) -> int:
        found: int = libc.syscall(number, *arguments)
        if found < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), directory)
        return found

    class Attributes(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "users")]

    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_SLAVE, None):
        raise OSError(ctypes.get_errno(), "no mount namespace")
    name = os.fsencode(directory)
    tree = call(OPEN_TREE, HERE, name, CLONE | os.O_CLOEXEC)
    attributes = Attributes(set=IDMAP, users=_exchanged())
    size = ctypes.sizeof(attributes)
    call(MOUNT_SETATTR, tree, b"", EMPTY_PATH, ctypes.byref(attributes), ctypes.c_size_t(size))
    call(MOVE_MOUNT, tree, b"", HERE, name, FROM_EMPTY_PATH)


def _exchanged() -> int:
    """A user namespace in which the guests' user is root, and root the guests' user; it is open."""
    pipe = subprocess.PIPE
    with subprocess.Popen(HOLDER, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as holder:
        assert holder.stdin is not None  # noqa: S101 - it is a pipe
        assert holder.stdout is not None  # noqa: S101 - likewise
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        if holder.stdout.read(1) != b"\n":
            raise OSError(errno.ENOSYS, "no user namespace")
        for name, guest in (("uid_map", GUEST_UID), ("gid_map", GUEST_GID)):
            ids = f"{guest} 0 1\n0 {guest} 1\n"
            Path(f"/proc/{holder.pid}/{name}").write_text(ids, encoding="ascii")
        return os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def open_namespace(directory: str) -> int:
    """Open a mount namespace in which a directory is shown as own.

    It becomes that of the thread, which should end then.
    """
    show_as_own(directory)
    return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


if __name__ == "__main__":
    try:
        show_as_own(sys.argv[1])
    except OSError as error:
        sys.exit(CANNOT if error.errno == errno.EINVAL else 1)

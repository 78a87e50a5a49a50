"""Tries whether a directory can be mounted with other owners, as containers have it. A program.

The kernel says by EINVAL that its file system can't. It ends with 0 if it can, 3 if it can't, and 1
if that isn't known: only root may try.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys

OPEN_TREE, MOUNT_SETATTR = 428, 442
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
OPEN_TREE_CLONE = 1
MOUNT_ATTR_IDMAP = 0x100000
CLONE_NEWUSER = 0x10000000


class MountAttributes(ctypes.Structure):
    """The kernel's struct mount_attr."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def try_shift(path: str) -> int:
    """0, or the kernel's error."""
    libc = ctypes.CDLL(None, use_errno=True)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, str(libc.unshare(CLONE_NEWUSER)).encode())
        signal.pause()
    try:
        if os.read(reader, 16) != b"0":
            return errno.EPERM
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - alone
                file.write("0 100000 65536")
        space = os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
        tree = libc.syscall(OPEN_TREE, AT_FDCWD, os.fsencode(path), OPEN_TREE_CLONE)
        if tree < 0:
            return ctypes.get_errno()
        asked = MountAttributes(attr_set=MOUNT_ATTR_IDMAP, userns_fd=space)
        size = ctypes.sizeof(asked)
        if libc.syscall(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, ctypes.byref(asked), size):
            return ctypes.get_errno()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return 0


if __name__ == "__main__":
    try:
        code = try_shift(sys.argv[1])
    except OSError:
        sys.exit(1)
    sys.exit({0: 0, errno.EINVAL: 3}.get(code, 1))

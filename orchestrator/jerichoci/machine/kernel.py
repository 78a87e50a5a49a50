"""Linux's system calls that hold a job's processes and make its workspace."""

from __future__ import annotations

import ctypes
import os

NEW_MOUNTS, NEW_USERS, NEW_PIDS, NEW_NETWORK = 0x20000, 0x10000000, 0x20000000, 0x40000000
BIND, REMOUNT, READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS = 0x1000, 0x20, 1, 2, 4, 8
PRIVATE_BELOW = 0x4000 | 1 << 18
_DEATH_SIGNAL, _AMBIENT, _RAISE = 1, 47, 2
_CAPABILITIES = 0x20080522
"""The version of the structures that have 64 capabilities."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(namespaces: int) -> None:
    """Have namespaces of one's own; one of pids is for the next child."""
    _checked(_libc.unshare(namespaces), "unshare")


def enter(namespace: int, kind: int) -> None:
    """Enter the namespace that a descriptor has open."""
    _checked(_libc.setns(namespace, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount something, or change a mount; relative paths are relative to the working directory."""
    words = [os.fsencode(word) if word else None for word in (source, target, kind)]
    done = _libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options) if options else None)
    _checked(done, f"mount {target}")


def die_with_parent(number: int) -> None:
    """Have this process get a signal when its parent dies."""
    _checked(_libc.prctl(_DEATH_SIGNAL, ctypes.c_ulong(number), 0, 0, 0), "prctl")


def own_users() -> None:
    """Have a user namespace in which this user is the same, and may do everything."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(NEW_USERS)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        write(f"/proc/self/{name}", text)
    _keep_rights()


def write(path: str, text: str) -> None:
    """Write to a file that there is; nothing needs to be imported for that."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _keep_rights() -> None:
    """Have the programs that this process becomes keep its capabilities, though it isn't root."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
    sets = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    _checked(_libc.capget(header, sets), "capget")
    sets[2], sets[5] = sets[1], sets[4]
    _checked(_libc.capset(header, sets), "capset")
    held = sets[1] | sets[4] << 32
    for number in range(held.bit_length()):
        if held >> number & 1:
            _libc.prctl(_AMBIENT, ctypes.c_ulong(_RAISE), ctypes.c_ulong(number), 0, 0)

"""Linux's calls that make a VM of a process."""

from __future__ import annotations

import ctypes
import os

NEW_MOUNTS, NEW_NAMES, NEW_PIDS = 0x20000, 0x4000000, 0x20000000
BIND, MOVE, RECURSIVE, PRIVATE = 0x1000, 0x2000, 0x4000, 0x40000
DETACH = 2

_PR_SET_PDEATHSIG = 1
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_READ_ONLY = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


def unshare(namespaces: int) -> None:
    _check(_libc.unshare(namespaces), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    words = [os.fsencode(word) for word in (source, target, kind)]
    done = _libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options) or None)
    _check(done, target)


def bind(source: str, target: str, flags: int = 0) -> None:
    mount(source, target, flags=BIND | flags)


def make_read_only(target: str, *, all_below: bool = False) -> None:
    attributes = _MountAttributes(_ATTR_READ_ONLY, 0, 0, 0)
    flags = _AT_RECURSIVE if all_below else 0
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    path = os.fsencode(target)
    done = _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, path, flags, ctypes.byref(attributes), size)
    _check(done, target)


def pivot_root(new: str, old: str) -> None:
    number = _PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(number, os.fsencode(new), os.fsencode(old)), new)


def detach(target: str) -> None:
    _check(_libc.umount2(os.fsencode(target), DETACH), target)


def end_with_parent(signal: int) -> None:
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl")


def _check(done: int, what: str) -> None:
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)

"""The first process of a job on a host, from its fork on.

It makes the namespaces and the workspace, runs the command as a group of its own, hands on TERM,
and ends when the command does. Where it is PID 1 of a namespace, what the command left running ends
with it. What it does by system calls would take half a dozen programs for each job.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

from jerichoci.machine.job_start import GIVEN, REPORT

if sys.platform == "linux":
    from jerichoci.machine import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType
    from typing import NoReturn

    from jerichoci.machine.job_start import Start

CANNOT = 125
"""The exit code where there is no job, for its world could not be made."""
MISSING = 127
RESET = [getattr(signal, f"SIG{name}") for name in ("INT", "QUIT", "TERM", "PIPE", "XFSZ", "USR1")]
"""Signals that a command doesn't find ignored, whatever Python and this process do."""


def run(start: Start) -> NoReturn:
    """Be the first process of a job; descriptors are in their places."""
    code = CANNOT
    try:
        if start["way"] != "group":
            _hold(start)
        elif sys.platform == "linux":
            # Nothing else would end the group when the process that starts jobs is killed.
            signal.signal(signal.SIGUSR1, _end_group)
            kernel.die_with_parent(signal.SIGUSR1)
        code = _run(start)
    except OSError as error:
        os.write(2, f"pikaci: {error.strerror or error}\n".encode("utf-8", "surrogateescape"))
    except Exception as error:  # noqa: BLE001 - this is a fork of a process that lives on
        os.write(2, f"pikaci: {error!r}\n".encode("utf-8", "surrogateescape"))
    finally:
        os._exit(code)


def _end_group(_number: int, _frame: FrameType | None) -> None:
    os.killpg(0, signal.SIGKILL)


def _hold(start: Start) -> None:
    """Have namespaces and a workspace."""
    network = kernel.NEW_NETWORK if start["own_network"] else 0
    if start["way"] == "user":
        kernel.own_users()
        kernel.unshare(kernel.NEW_PIDS | kernel.NEW_MOUNTS | network)
        kernel.die_with_parent(signal.SIGKILL)
        if pid := os.fork():
            _stand_by(pid)
        kernel.die_with_parent(signal.SIGKILL)
    else:
        kernel.die_with_parent(signal.SIGKILL)
        if start["entered"]:
            here = os.getcwd()  # noqa: PTH109 - forked for each job
            namespace = os.open(start["entered"], os.O_RDONLY)
            kernel.enter(namespace, kernel.NEW_MOUNTS)
            os.close(namespace)
            os.chdir(here)
        kernel.unshare(kernel.NEW_MOUNTS | network)
    kernel.mount("none", "/", None, kernel.PRIVATE_BELOW)
    kernel.mount("proc", "/proc", "proc", kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_PROGRAMS)
    place = f"{start['workspace']}/workspace"
    if start["kind"] == "overlay":
        layers = (
            f"lowerdir={start['snapshot']},upperdir={start['workspace']}/upper"
            f",workdir={start['workspace']}/work{start['overlay_options']}"
        )
        kernel.mount("overlay", place, "overlay", 0, layers)
        if os.stat(start["snapshot"]).st_uid != os.geteuid():  # noqa: PTH116 - forked for each job
            # A root's snapshot that is still the guests' user's: see `idmap`.
            _run_to_end(["chown", "-hR", "0:0", place], start["setup_env"])
    elif start["kind"] == "read_only":
        kernel.mount(start["snapshot"], place, None, kernel.BIND)
        kernel.mount("none", place, None, kernel.REMOUNT | kernel.BIND | kernel.READ_ONLY)


def _stand_by(pid: int) -> NoReturn:
    """Wait for the first process of a namespace, and end as it did."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.closerange(0, GIVEN + 1)
    os._exit(_exit_code(os.waitpid(pid, 0)[1]))


def _run(start: Start) -> int:
    """Run the command to its end, and report it; the exit code."""
    if start["setup"]:
        code = _run_to_end(start["setup"], start["setup_env"])
        if code:
            return code
    os.closerange(GIVEN, GIVEN + 1)
    os.chdir(f"{start['workspace']}/workspace")
    for path in start["groups"]:
        kernel.write(path, "0")
    told: list[int] = []

    def tell(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        _end_all()

    in_group = start["way"] == "group"
    # Without a namespace the command is in this group, and hears it itself.
    signal.signal(signal.SIGTERM, signal.SIG_IGN if in_group else tell)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.write(REPORT, b"started %.2f\n" % seconds_since_boot())
    job = _spawn(start["program"], start["env"], own_group=not in_group)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if told:
        _end_all()  # it came before there was a job
    for number in (1, 2):
        os.close(number)  # the log's end is that of the command's processes
    pid = status = 0
    while pid != job:
        pid, status = os.waitpid(-1, 0)
    os.write(REPORT, b"ended %.2f %d\n" % (seconds_since_boot(), status))
    return _exit_code(status)


def _end_all() -> None:
    """Send TERM to all others of a namespace."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)


def _exit_code(status: int) -> int:
    """As a shell has it: after a signal 128 and its number."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _spawn(argv: Sequence[str], env: Mapping[str, str], *, own_group: bool = False) -> int:
    """Start a program of the host's PATH, without a copy of this process."""
    name, words = argv[0], [*argv]
    try:
        if own_group:
            return os.posix_spawnp(name, words, env, setpgroup=0, setsigmask=(), setsigdef=RESET)
        return os.posix_spawnp(name, words, env, setsigmask=(), setsigdef=RESET)
    except OSError as error:
        os.write(2, f"pikaci: {argv[0]}: {error.strerror}\n".encode())
        os._exit(MISSING)


def _run_to_end(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a program that sets something up; its exit code."""
    pid = _spawn(argv, env)
    ended = status = 0
    while ended != pid:
        ended, status = os.waitpid(-1, 0)
    return _exit_code(status)


def seconds_since_boot() -> float:
    """With the time for which the machine slept, where that is known."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

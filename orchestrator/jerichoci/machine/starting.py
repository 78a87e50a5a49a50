"""The process that starts the jobs of a host, and carries what they print into their logs.

It is small and has one thread, so a fork for each job is cheap and safe. It is told what to do on
its standard input, a socket, and answers there, a JSON object a line:

- `{"id", "pid"}`: a job was started; `{"id", "errno", "error"}`: it could not be;
- `{"id", "status", "is_whole"}`: it ended, by a status of `waitpid`, and all that it printed is in
  its log, unless that could not be written.

When the socket is closed (the orchestrator ended, however), all jobs are killed. A job's output is
a pipe and not the log itself: a program that opens /dev/stderr anew would cut the log off. What
prints much gets a process of its own for its pipe.

All are in one session: where the kernel schedules by sessions (`sched_autogroup`), a job and what
carries its output would otherwise get in each other's way.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress

from jerichoci.machine import job_init
from jerichoci.machine.job_start import HEAD_BYTES, REPORT

if sys.platform == "linux":
    from jerichoci.machine import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from jerichoci.machine.job_start import Start

CONTROL = 0
MOST_FDS = 3
PIECE = 128 * 1024
_PIECE = bytearray(PIECE)
MUCH = 4 * 1024 * 1024
"""What a job prints before its pipe gets a process of its own, and a longer pipe."""
PIPE_BYTES = 1024 * 1024
"""What Linux lets any user have: fewer switches between who prints and who writes."""
DRAIN_SECS = 10.0
"""For a full pipe to reach a slow disk, after the last of the job is gone. Only a child that left
its process group, where there is no namespace, holds the pipe for longer."""


class Job:
    """A job that was started."""

    def __init__(self, number: int, pid: int, in_group: bool, source: int, log: int) -> None:  # noqa: FBT001 - made once
        self.number = number
        self.pid = pid
        self.in_group = in_group
        self.source = source
        """What it prints, until all of that is in the log; -1 if another process has the pipe."""
        self.log = log
        self.carried = 0
        self.carrier = 0
        """The process that has its pipe."""
        self.is_whole = True
        self.status: int | None = None
        self.deadline = 0.0


class Starter:
    """Starts jobs until its socket is closed."""

    def __init__(self) -> None:
        self._control = socket.socket(fileno=CONTROL)
        self._jobs: dict[int, Job] = {}
        self._children: set[int] = set()
        self._is_open = True
        self._poll = select.poll()
        self._poll.register(CONTROL, select.POLLIN)
        self._pids = -1
        if sys.platform == "linux":
            self._pids = os.open("/proc/self/ns/pid", os.O_RDONLY)

    def serve(self) -> None:
        """Until there is nothing more to come, and nothing more to do."""
        woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wakes)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll.register(woken, select.POLLIN)
        while self._is_open or self._jobs:
            for fd, _ in self._poll.poll(self._patience()):
                if fd == CONTROL:
                    self._hear()
                elif fd == woken:
                    os.read(woken, PIECE)
                else:
                    self._carry(fd)
            self._reap()
            self._give_up()

    def _patience(self) -> float | None:
        deadlines = [job.deadline for job in self._jobs.values() if job.deadline]
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 if deadlines else None

    def _hear(self) -> None:
        head, fds, _, _ = socket.recv_fds(self._control, HEAD_BYTES, MOST_FDS)
        data = _exactly(self._control, int.from_bytes(head)) if len(head) == HEAD_BYTES else b""
        if not data:
            self._is_open = False
            self._poll.unregister(CONTROL)
            for job in self._jobs.values():
                self._signal(job, signal.SIGKILL)
            return
        told = json.loads(data)
        if "signal" in told:
            if told["id"] in self._jobs:
                self._signal(self._jobs[told["id"]], told["signal"])
            return
        try:
            self._start(told, fds)
        except OSError as error:
            self._say(id=told["id"], errno=error.errno, error=error.strerror)
        finally:
            for fd in fds:
                os.close(fd)

    def _start(self, told: dict[str, Any], fds: list[int]) -> None:
        start: Start = told["start"]
        report, *given = fds
        source = log = -1
        if told["log"] is None:
            sink = os.dup(given.pop(0))
        else:
            log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            source, sink = os.pipe()
        try:
            pid = self._fork(start["way"])
            if not pid:
                _be_job(start, told["cwd"], [sink, report, *given])
        except OSError:
            for fd in {source, log} - {-1}:
                os.close(fd)
            raise
        finally:
            os.close(sink)
        with suppress(ProcessLookupError):
            os.setpgid(pid, pid)  # as it does itself
        self._children.add(pid)
        self._jobs[told["id"]] = Job(told["id"], pid, start["way"] == "group", source, log)
        if source >= 0:
            self._poll.register(source, select.POLLIN)
        self._say(id=told["id"], pid=pid)

    def _fork(self, way: str) -> int:
        if way != "root":
            return os.fork()
        # The next child is the first process of a namespace; those after it are here again.
        kernel.unshare(kernel.NEW_PIDS)
        try:
            pid = os.fork()
        except OSError:
            kernel.enter(self._pids, kernel.NEW_PIDS)
            raise
        if pid:
            kernel.enter(self._pids, kernel.NEW_PIDS)
        return pid

    def _carry(self, source: int) -> None:
        """Bring some of what a job printed into its log."""
        job = next(job for job in self._jobs.values() if job.source == source)
        try:
            count = _carry_piece(source, job.log)
        except OSError:
            job.is_whole, count = False, 0
        job.carried += count
        if count and job.carried < MUCH:
            return
        if count:
            self._carry_beside(job)
        self._leave_pipe(job)

    def _carry_beside(self, job: Job) -> None:
        """Have a process for the pipe of a job."""
        job.carrier = os.fork()
        if not job.carrier:
            _carry_all(job.source, job.log)
        self._children.add(job.carrier)

    def _leave_pipe(self, job: Job) -> None:
        self._poll.unregister(job.source)
        os.close(job.source)
        os.close(job.log)
        job.source = job.log = -1
        self._see(job)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._children.discard(pid)
            for job in [*self._jobs.values()]:
                if job.pid == pid and job.status is None:
                    job.status = status
                    if job.in_group:
                        self._signal(job, signal.SIGKILL)  # what it left running
                    job.deadline = time.monotonic() + DRAIN_SECS
                    self._see(job)
                elif job.carrier == pid:
                    job.carrier = 0
                    job.is_whole = status == 0
                    self._see(job)

    def _give_up(self) -> None:
        """Wait no longer for the output of what others hold; it still gets into the log."""
        now = time.monotonic()
        for job in [*self._jobs.values()]:
            if job.deadline and now >= job.deadline:
                if job.source >= 0:
                    self._carry_beside(job)
                    self._leave_pipe(job)
                job.carrier = 0
                self._see(job)

    def _see(self, job: Job) -> None:
        """Say that a job ended, if that is so."""
        if job.status is None or job.source >= 0 or job.carrier or job.number not in self._jobs:
            return
        del self._jobs[job.number]
        self._say(id=job.number, status=job.status, is_whole=job.is_whole)

    def _signal(self, job: Job, number: int) -> None:
        try:
            os.killpg(job.pid, number)
        except ProcessLookupError:
            if job.status is None:  # it leads no group yet
                os.kill(job.pid, number)
        except PermissionError:
            pass  # what it left is another user's

    def _say(self, **values: object) -> None:
        with suppress(OSError):  # nothing hears of it any more
            self._control.sendall(json.dumps(values).encode() + b"\n")


def _be_job(start: Start, cwd: str, fds: list[int]) -> NoReturn:
    """Be the first process of a job, with descriptors where it has them, and no others."""
    try:
        signal.set_wakeup_fd(-1)
        os.setpgid(0, 0)
        sink, *rest = fds
        wanted = [os.open(os.devnull, os.O_RDONLY), sink, sink, *rest]
        beyond = [fcntl.fcntl(fd, fcntl.F_DUPFD, len(wanted)) for fd in wanted]
        for place, fd in enumerate(beyond):
            os.dup2(fd, place, inheritable=place != REPORT)
        os.closerange(len(wanted), os.sysconf("SC_OPEN_MAX"))
        os.chdir(cwd)
        job_init.run(start)
    finally:
        os._exit(job_init.CANNOT)


def _carry_all(source: int, log: int) -> NoReturn:
    """Be the process that carries all of a pipe into a log."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(source, 0)
        os.dup2(log, 1)
        os.closerange(2, os.sysconf("SC_OPEN_MAX"))
        with suppress(OSError, AttributeError):  # more than this user may have: it is shorter
            fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        while _carry_piece(0, 1):
            pass
        code = 0
    finally:
        os._exit(code)


def _carry_piece(source: int, log: int) -> int:
    """Carry what a pipe has now, or a part of it; 0 at its end."""
    count = os.readv(source, [_PIECE])
    view = memoryview(_PIECE)[:count]
    while view:
        view = view[os.write(log, view) :]
    return count


def _exactly(control: socket.socket, size: int) -> bytes:
    pieces = []
    while size:
        piece = control.recv(size)
        if not piece:
            return b""
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def main() -> None:
    """Serve, with as little of this program as will do shared by no job."""
    gc.disable()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Starter().serve()

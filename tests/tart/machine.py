"""A VM that runs: namespaces whose first process is the guest agent, with a root of their own.

It ends with the process that started it, however that ends, and all that runs in it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import stat
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tart import guest_files, linux
from tart.agent import CRASH, LOSE_AGENT, Stream

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from tart.directory_share import DirectoryShare
    from tart.faults import Fault

SHUT_DOWN, BROKEN, CRASHED = 0, 1, 3
HOST_NAME = "Manageds-Virtual-Machine"
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
MY_SHARED_FILES = "Volumes/My Shared Files"
ROOT, LAYER, UPPER, WORK = "root", "layer", "upper", "work"
HIDDEN = str(guest_files.HIDDEN)


class Machine:
    def __init__(
        self,
        directory: Path,
        config: dict[str, Any],
        shares: Sequence[DirectoryShare],
        control: socket.socket,
        *,
        faults: Sequence[Fault],
        lives: Sequence[int] = (),
    ) -> None:
        self._directory = directory
        self._config = config
        self._shares = shares
        self._control = control
        self._faults = {fault.kind: fault for fault in faults}
        self._agent_life = os.pipe()
        self._lives = list(lives)
        """What becomes readable when it is to end."""

    def start(self) -> int:
        """Boot it; its first process's PID, which ends with one of the codes above."""
        host_life = os.pipe()
        linux.unshare(linux.NEW_PIDS)
        pid = os.fork()
        if pid:
            os.close(host_life[0])
            for descriptor in self._agent_life:
                os.close(descriptor)
            self._control.close()
            return pid
        os.close(host_life[1])
        try:
            self._boot()
            self._lives.append(host_life[0])
            self._attend()
        except BaseException:  # noqa: BLE001 - nothing gets out of here
            traceback.print_exc()
        finally:
            os._exit(BROKEN)

    def _boot(self) -> None:
        linux.end_with_parent(signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # No process waits for those whose parents have ended.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        linux.unshare(linux.NEW_MOUNTS | linux.NEW_NAMES)
        linux.mount("none", "/", flags=linux.RECURSIVE | linux.PRIVATE)
        os.chdir(self._directory)
        for name in (ROOT, LAYER, UPPER, WORK):
            Path(name).mkdir(exist_ok=True)
        linux.mount("layer", LAYER, "tmpfs", options="mode=755")
        guest_files.write(Path(LAYER), self._config.get("guest", {}))
        options = f"lowerdir={LAYER}:/,upperdir={UPPER},workdir={WORK}"
        linux.mount("guest", ROOT, "overlay", options=options)
        os.chdir(ROOT)
        linux.mount("proc", "proc", "proc")
        linux.mount("tmpfs", "private/tmp", "tmpfs", options="mode=1777")
        _make_devices()
        # There, /nix is a volume of its own.
        for directory in (*guest_files.WRITABLE, *(["nix"] if Path("nix").is_dir() else [])):
            linux.bind(directory, directory)
        linux.bind(".", f"{HIDDEN}/root")
        self._share()
        linux.make_read_only(".")
        linux.pivot_root(".", f"{HIDDEN}/old")
        os.chdir("/")
        linux.detach(f"{HIDDEN}/old")
        socket.sethostname(HOST_NAME)
        os.setsid()
        nothing = os.open("dev/null", os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)

    def _share(self) -> None:
        place = Path(MY_SHARED_FILES)
        if not self._shares:
            with contextlib.suppress(FileNotFoundError):
                place.rmdir()
            return
        place.mkdir(exist_ok=True)
        linux.mount("shares", str(place), "tmpfs", options="mode=755")
        for share in self._shares:
            inner = place / str(share.name)
            inner.mkdir()
            linux.bind(str(share.path), str(inner), linux.RECURSIVE)
            if share.read_only:
                linux.make_read_only(str(inner), all_below=True)
        linux.make_read_only(str(place))

    def _attend(self) -> NoReturn:
        booted = time.monotonic()
        signal.signal(signal.SIGTERM, lambda *_: os._exit(SHUT_DOWN))
        signal.signal(CRASH, lambda *_: os._exit(CRASHED))
        signal.signal(LOSE_AGENT, self._lose_agent)
        due = {kind: booted + fault.secs for kind, fault in self._faults.items()}
        self._control.settimeout(0)
        while True:
            left = [at - time.monotonic() for at in due.values()]
            wait = max(0.0, min(left)) if left else None
            asked = self._control.fileno()
            ready, _, _ = select.select([asked, *self._lives], [], [], wait)
            if set(self._lives).intersection(ready):
                os._exit(CRASHED)
            for kind in [kind for kind, at in due.items() if at <= time.monotonic()]:
                del due[kind]
                if kind == "crash":
                    os._exit(CRASHED)
                if kind == "lose_agent":
                    self._lose_agent()
            if asked in ready:
                with contextlib.suppress(BlockingIOError):
                    connection, _ = self._control.accept()
                    with connection:
                        if "late" not in due:
                            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        alive, lives = self._agent_life
        if lives < 0 or os.fork():
            return
        for each in (signal.SIGCHLD, signal.SIGTERM, CRASH, LOSE_AGENT):
            signal.signal(each, signal.SIG_DFL)
        os.close(lives)
        for life in self._lives:
            os.close(life)
        self._control.close()
        try:
            connection.settimeout(None)
            Stream(connection, alive).serve()
        finally:
            os._exit(0)

    def _lose_agent(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        alive, lives = self._agent_life
        if lives >= 0:
            os.close(lives)
        self._agent_life = alive, -1


def _make_devices() -> None:
    linux.mount("devfs", "dev", "tmpfs", options="mode=755")
    devices = Path("dev")
    for name, minor in DEVICES.items():
        os.mknod(devices / name, stat.S_IFCHR, os.makedev(1, minor))
        devices.joinpath(name).chmod(0o666)
    os.mknod(devices / "tty", stat.S_IFCHR, os.makedev(5, 0))
    devices.joinpath("tty").chmod(0o666)
    devices.joinpath("pts").mkdir()
    linux.mount("devpts", "dev/pts", "devpts", options="newinstance,ptmxmode=0666,mode=620")
    devices.joinpath("ptmx").symlink_to("pts/ptmx")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        devices.joinpath(name).symlink_to(f"/proc/self/fd/{number}")
    devices.joinpath("fd").symlink_to("/proc/self/fd")

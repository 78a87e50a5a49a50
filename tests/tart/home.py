"""What the program keeps in `$TART_HOME`: VMs, images that were pulled, and who runs what.

A VM runs while a process has a lock on its `config.json`. A test of a job makes a dozen calls: what
few of them need is imported where it is used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import struct
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tart.failure import OTHER, Failure, missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG, CONTROL_SOCKET = "config.json", "control.sock"
DISK_GB = 50
FILES = (CONFIG, "disk.img", "nvram.bin")
REMOVED_SECS = 30
POLL_SECS = 0.01

# l_type, l_whence, l_start, l_len, l_pid
FLOCK = "hhqqi4x"


class VM(NamedTuple):
    """A VM's directory, or that of an image."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def config(self) -> dict[str, Any]:
        """Read it; not where the lock is held, which is lost when the file is closed."""
        config: dict[str, Any] = json.loads(self.path.joinpath(CONFIG).read_text())
        return config

    def save(self, config: dict[str, Any]) -> None:
        self.path.joinpath(CONFIG).write_text(json.dumps(config, indent=2))

    @property
    def is_complete(self) -> bool:
        return all(self.path.joinpath(name).is_file() for name in FILES)

    def runner(self) -> int:
        """The PID of the process that runs it, or 0."""
        asked = struct.pack(FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        try:
            with self.path.joinpath(CONFIG).open("r+b") as file:
                kind, *_, pid = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
        except FileNotFoundError:
            return 0
        return 0 if kind == fcntl.F_UNLCK else int(pid)

    def try_lock(self) -> bool:
        """Lock it for as long as this process lives."""
        descriptor = os.open(self.path / CONFIG, os.O_RDWR)
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLK, asked)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                return False
            raise
        return True

    def info(self) -> dict[str, Any]:
        """What `tart list` says of it."""
        runs = self.runner() != 0
        accessed = time.gmtime(self.path.stat().st_atime)
        return {
            "Disk": DISK_GB,
            "Size": 1,
            "Accessed": time.strftime("%Y-%m-%dT%H:%M:%SZ", accessed),
            "Running": runs,
            "State": "running" if runs else "stopped",
        }

    def remove(self) -> None:
        """Remove all of it; what still ends may write meanwhile."""
        import shutil

        deadline = time.monotonic() + REMOVED_SECS
        while self.path.exists():
            try:
                shutil.rmtree(self.path)
            except OSError as error:
                passes = error.errno in {errno.ENOTEMPTY, errno.ENOENT}
                if not passes or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECS)


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.vms = path / "vms"
        self.images = path / "cache" / "OCIs"
        self.registry = path / "registry"
        self.temporary = path / "tmp"
        for directory in (self.vms, self.images, self.temporary):
            directory.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """No other process starts or clones VMs meanwhile."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def open(self, name: str) -> VM:
        """A local VM."""
        vm = VM(self.vms / name)
        if not vm.path.exists():
            raise missing(name)
        if not vm.is_complete:
            raise Failure(f"VM is missing files for a supported layout: {', '.join(FILES)}")
        return vm

    def local(self) -> list[VM]:
        return [vm for vm in map(VM, sorted(self.vms.iterdir())) if vm.is_complete]

    def pulled(self) -> list[VM]:
        return [VM(path) for path in sorted(self.images.iterdir())]

    def image(self, name: str) -> VM:
        """The copy of a remote image, which is pulled if it isn't there yet."""
        import hashlib

        vm = VM(self.images / remote_file(name))
        if not vm.path.exists():
            origin = self.registry / remote_file(name)
            if not origin.is_file():
                message = "UnexpectedHTTPStatusCode: pulling manifest, code: 404"
                raise Failure(f"Error: {message}, details: {name} is unknown", OTHER)
            print(f"pulling {name}...\npulling manifest...", flush=True)  # noqa: T201
            config = json.loads(origin.read_text())
            digest = f"sha256:{hashlib.sha256(origin.read_bytes()).hexdigest()}"
            by_digest = VM(self.images / remote_file(f"{untagged(name)}@{digest}"))
            for copy in (by_digest, vm):
                with self.new(copy.path) as made:
                    make(made, config)
        return vm

    def clone(self, source: VM, name: str) -> None:
        """Copy a VM; one of that name is replaced, even if it runs."""
        with self.lock(), self.new(self.vms / name) as made:
            config = source.config()
            make(made, config | {"macAddress": mac_address()})

    @contextlib.contextmanager
    def new(self, path: Path) -> Iterator[VM]:
        """A directory that gets its place when it is finished."""
        import shutil

        vm, descriptor = self._temporary()
        try:
            yield vm
            replaced = self.temporary / f"{vm.name}.old"
            with contextlib.suppress(FileNotFoundError):
                path.rename(replaced)
            vm.path.rename(path)
            shutil.rmtree(replaced, ignore_errors=True)
        finally:
            os.close(descriptor)

    def _temporary(self) -> tuple[VM, int]:
        """An empty directory and what locks it."""
        while True:
            vm = VM(self.temporary / os.urandom(16).hex())
            vm.path.mkdir()
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(vm.path, os.O_RDONLY)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # A `collect` may have been quicker.
                if vm.path.exists():
                    return vm, descriptor
                os.close(descriptor)

    def collect(self) -> None:
        """Remove what killed clones have left."""
        for entry in self.temporary.iterdir():
            import shutil

            with contextlib.suppress(OSError):
                descriptor = os.open(entry, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(entry, ignore_errors=True)
                finally:
                    os.close(descriptor)

    def running(self, but: str) -> list[VM]:
        """What runs beside a VM."""
        return [vm for vm in self.local() if vm.name != but and vm.runner()]


def make(vm: VM, config: dict[str, Any]) -> None:
    """Write the files of one with an empty disk."""
    vm.path.mkdir(exist_ok=True, parents=True)
    for name in FILES:
        vm.path.joinpath(name).touch()
    vm.save(config)


def is_remote(name: str) -> bool:
    return "/" in name


def remote_file(name: str) -> str:
    """A remote image's name as that of a file; without a tag it is the latest."""
    tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    return tagged.replace("/", "%")


def remote_name(file: str) -> str:
    return file.replace("%", "/")


def untagged(name: str) -> str:
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def mac_address() -> str:
    return "52:" + ":".join(f"{byte:02x}" for byte in os.urandom(5))

"""A private incusd: its own directory, pool, bridge and project, with the Debian guest as an image.

It needs root and Incus and no systemd, and works in a mount and PID namespace as well. Every one
holds a lock as long as the tests that use it live. The next server to start ends those whose
lock is free: their tests were killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import tarfile
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.project import wait_for
from privilege import only_root_can

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
BASE = Path("/var/tmp/pikaci-incus")  # noqa: S108 - a socket's path is short, and it is checked
"""Not below the home directory: guests' users must get through."""
LOCK = BASE / "lock"
PROGRAMS = (
    f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin:/usr/libexec/incus"
)
POOL_SIZE = "12GiB"
"""Of a sparse file."""

READY_SECS = 60
ENDED_SECS = 60
GUEST_BUILD_SECS = 1200
COMMAND_SECS = 120

PRESEED = """
storage_pools:
- name: {pool}
  driver: btrfs
  config: {{size: {size}}}
networks:
- name: {bridge}
  type: bridge
  config: {{ipv4.address: {address}, ipv4.nat: "false", ipv6.address: none}}
projects:
- name: {project}
  config: {{features.images: "true", features.profiles: "true", features.networks: "false"}}
profiles:
- name: default
  project: {project}
  devices:
    root: {{type: disk, path: /, pool: {pool}}}
"""


class IncusServer:
    """An incusd that may be stopped, started and restarted; its instances stay meanwhile."""

    project = "pikaci"
    pool = "pikaci"
    image_alias = "pikaci/dev"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "unix.socket"
        # What an interface may be called is short.
        self.bridge = f"pk{directory.name}"
        self.log = directory / "incusd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.lasting: set[str] = set()
        """The instances that several tests share: they are not removed after one."""

    @property
    def pid(self) -> int:
        assert self._process is not None, "incusd doesn't run"
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """What makes a program of the user's take this Incus."""
        return {"INCUS_DIR": str(self.directory), "INCUS_SOCKET": str(self.socket)}

    @cached_property
    def _environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("INCUS_")},
            **self.environment,
            "INCUS_CONF": str(self.directory / "client"),
            "INCUS_PROJECT": self.project,
            "PATH": PROGRAMS,
        }

    def start(self) -> None:
        """Start incusd and wait until it answers."""
        assert self._process is None, "incusd runs already"
        daemon = shutil.which("incusd", path=PROGRAMS)
        assert daemon is not None, "there is no incusd: ci/bootstrap/incus-packages.sh installs it"
        with Path(self.directory, "incusd.out").open("ab") as output:
            self._process = subprocess.Popen(
                [daemon, "--group", "root", "--logfile", str(self.log)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        done = self._run(daemon, "waitready", "--timeout", str(READY_SECS))
        assert done.returncode == 0, self._explain("incusd isn't ready", done)
        assert self._process.poll() is None, self._explain("incusd has ended", done)

    def stop(self) -> None:
        """End incusd as a restart of its service does: instances go on running."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Another incusd over the same instances."""
        self.stop()
        self.start()

    def incus(self, *arguments: str, stdin: str | None = None) -> str:
        """What the client says to a command in the project."""
        done = self._run("incus", *arguments, stdin=stdin)
        assert done.returncode == 0, self._explain(f"incus {' '.join(arguments)} failed", done)
        return done.stdout

    @cached_property
    def limits_guests(self) -> bool:
        """Whether this machine's cgroups let Incus limit a guest's memory and CPUs."""
        found = json.loads(self.incus("query", "/1.0/warnings?recursion=1"))
        return not any("cgroup memory controller" in row["type"].lower() for row in found)

    def refusal(self, *arguments: str) -> str:
        """What the client says of a command that fails; nothing of one that doesn't."""
        done = self._run("incus", *arguments)
        return done.stderr if done.returncode else ""

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A client that goes on."""
        pipe = subprocess.PIPE
        return subprocess.Popen(["incus", *arguments], env=self._environment, stdout=pipe)

    def instances(self) -> list[str]:
        """The names of all there are in the project."""
        return self.incus("list", "--format=csv", "--columns=n").split()

    def remove_instances(self) -> None:
        """Remove all in the project that don't last, those included that incusd removes itself."""
        deadline = time.monotonic() + ENDED_SECS
        while names := set(self.instances()) - self.lasting:
            self._run("incus", "delete", "--force", *names)
            assert time.monotonic() < deadline, f"{names} can't be removed"

    def set_up(self) -> None:
        """The pool, the bridge, the project and the image, in an Incus that has nothing."""
        preseed = PRESEED.format(
            pool=self.pool,
            size=POOL_SIZE,
            bridge=self.bridge,
            address=free_address(),
            project=self.project,
        )
        self._initialise(preseed)
        self.import_guest(self.project)
        content = self.incus("image", "list", "--format=csv", "--columns=F").strip()
        self.incus("image", "set-property", content, "user.pikaci.content", content)

    def import_guest(self, project: str) -> None:
        """Give a project the Debian guest's image."""
        image = debian_guest()
        files = [str(image / "metadata.tar.xz"), str(image / "rootfs.squashfs")]
        aliased = ("--alias", self.image_alias, "--project", project)
        self.incus("image", "import", "--quiet", *files, *aliased)

    def import_told(self) -> str:
        """Give the project the image as it would be if its guests had to be told to begin a job."""
        alias, image = "pikaci/told", debian_guest()
        if alias not in self.incus("image", "list", "--format=csv", "--columns=l"):
            with tarfile.open(image / "metadata.tar.xz") as metadata:
                (member,) = metadata.getmembers()
                file = metadata.extractfile(member)
                assert file is not None
                lines = file.read().decode().splitlines()
            text = "\n".join(line for line in lines if "pikaci.wait" not in line)
            told = self.directory / "told.tar"
            with tarfile.open(told, "w") as metadata:
                member.size = len(text)
                metadata.addfile(member, io.BytesIO(text.encode()))
            rootfs = str(image / "rootfs.squashfs")
            self.incus("image", "import", "--quiet", str(told), rootfs, "--alias", alias)
        return alias

    def _initialise(self, preseed: str, tries: int = 5) -> None:
        # Incus looks at each link of the machine, and fails if one of those that it listed is gone.
        try:
            self.incus("admin", "init", "--preseed", stdin=preseed)
        except AssertionError as error:
            if tries == 1 or "does not exist" not in str(error):
                raise
            self._initialise(preseed, tries - 1)

    def found_cluster(self) -> None:
        """Be the first member of a cluster, which is called `one`, with a pool and the image."""
        preseed = {
            "config": {"core.https_address": own_address()},
            "storage_pools": [
                {"name": self.pool, "driver": "btrfs", "config": {"size": POOL_SIZE}}
            ],
            "projects": [{"name": self.project, "config": {"features.networks": "false"}}],
            "cluster": {"server_name": "one", "enabled": True},
        }
        self.incus("admin", "init", "--preseed", stdin=json.dumps(preseed))
        root = {"root": {"type": "disk", "path": "/", "pool": self.pool}}
        self.incus("profile", "edit", "default", stdin=json.dumps({"devices": root}))
        self.import_guest(self.project)

    def join_cluster(self, other: IncusServer) -> None:
        """Be a member of a cluster called `two`."""
        token = other.incus("cluster", "add", "two", "--quiet").split()[-1]
        pool = {"entity": "storage-pool", "name": self.pool}
        own = [{**pool, "key": "source", "value": ""}, {**pool, "key": "size", "value": POOL_SIZE}]
        cluster = {
            "enabled": True,
            "server_name": "two",
            "server_address": own_address(),
            "cluster_token": token,
            "member_config": own,
        }
        self.incus("admin", "init", "--preseed", stdin=json.dumps({"cluster": cluster}))

    def end(self) -> None:
        """End incusd and remove all that was its."""
        try:
            if self._process is None:
                self.start()
            self.remove_instances()
            # Takes the bridge down and the pool off its loop device; a signal alone doesn't.
            self.incus("admin", "shutdown", "--force", f"--timeout={ENDED_SECS}")
            self._end(None)
        finally:
            self._remove_rest()

    def _remove_rest(self) -> None:
        if self._process is not None:
            self._end(signal.SIGKILL)
        for mount in reversed(self.mounts()):
            subprocess.run(["umount", "--lazy", mount], check=True)
        if Path("/sys/class/net", self.bridge).exists():
            subprocess.run(["ip", "link", "delete", self.bridge], check=True, env=self._environment)
        shutil.rmtree(self.directory)

    def mounts(self) -> list[str]:
        """What is mounted below the directory."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in lines]
        return [point for point in points if point.startswith(f"{self.directory}/")]

    def _end(self, number: signal.Signals | None) -> None:
        assert self._process is not None, "incusd doesn't run"
        if number is not None:
            self._process.send_signal(number)
        self._process.wait(ENDED_SECS)
        self._process = None

    def _run(self, *argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env=self._environment,
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECS,
        )

    def _explain(self, what: str, done: subprocess.CompletedProcess[str]) -> str:
        log = self.log.read_text().splitlines()[-20:] if self.log.exists() else []
        return "\n".join([what, done.stdout, done.stderr, *log])


@contextlib.contextmanager
def private_incus() -> Iterator[IncusServer]:
    """A server of one's own, and nothing of it afterwards."""
    make_base()
    server = IncusServer(BASE / secrets.token_hex(3))
    with own_lock(server):
        server.directory.mkdir(mode=0o711)
        try:
            server.start()
            server.set_up()
            yield server
        finally:
            server.end()


def make_base() -> None:
    """A directory of our own."""
    only_root_can("start an Incus")
    BASE.mkdir(mode=0o711, exist_ok=True)
    assert BASE.lstat().st_uid == os.geteuid(), f"{BASE} belongs to another user"


@contextlib.contextmanager
def own_lock(server: IncusServer) -> Iterator[None]:
    """The lock of a server that is used, taken after those that are not used have ended."""
    path = server.directory.with_suffix(".lock")
    with LOCK.open("w") as everybody:
        fcntl.flock(everybody, fcntl.LOCK_EX)
        for other in sorted(BASE.glob("*.lock")):
            end_if_left(other)
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        yield
        path.unlink()


def end_if_left(path: Path) -> None:
    """End a server whose tests were killed."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        left = IncusServer(path.with_suffix(""))
        if left.directory.exists():
            end_daemon_of(left)
            # What can't be ended in order is removed all the same.
            with contextlib.suppress(AssertionError):
                left.end()
        path.unlink()


def end_daemon_of(server: IncusServer) -> None:
    """End an incusd of which we are not the parent."""
    logfile = os.fsencode(server.log)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if logfile in (entry / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGTERM)
                found.append(entry)
    wait_for(lambda: not any(entry.exists() for entry in found))


def debian_guest(packages: str = "") -> Path:
    """Where the image is of a Debian guest with these packages; it is made if it isn't there."""
    done = subprocess.run(
        [ROOT / "nix" / "incus" / "debian-guest.sh", "--packages", packages],
        capture_output=True,
        text=True,
        check=False,
        timeout=GUEST_BUILD_SECS,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def own_address() -> str:
    """An unused address of this machine, with a port."""
    return (
        f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}.{secrets.randbelow(256)}:8443"
    )


def free_address() -> str:
    """An address for a bridge, in a network that this machine has no route to."""
    routes = subprocess.run(
        ["ip", "-4", "route", "show", "table", "all"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": PROGRAMS},
    ).stdout
    while True:
        prefix = f"10.{128 + secrets.randbelow(127)}.{secrets.randbelow(256)}."
        if prefix not in routes:
            return f"{prefix}1/24"

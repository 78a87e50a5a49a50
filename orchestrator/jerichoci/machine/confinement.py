"""What a host's kernel gives us to hold a job's processes and its workspace.

With a PID namespace everything a job starts dies with it, `setsid` children and all, and with the
orchestrator. Without one (macOS, containers that forbid it) there are process groups, which a
child can leave; records and logs say which it was.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import threading
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.machine import idmap
from jerichoci.machine.process import dying, run
from jerichoci.state.answers import Answers, key_of
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import StateLayout, make_private
from jerichoci.state.remove_tree import remove_tree
from jerichoci.state.trace import span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.machine.workspace import Workspace

PROBE_DEADLINE_SECS = 10.0

_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
_AS_USER = (*_NAMESPACES[:1], "--user", "--map-current-user", "--keep-caps", *_NAMESPACES[1:])
_DROP = ("setpriv", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--")

_WAYS = (
    # The first for where snapshots must be given to root, file by file.
    (_NAMESPACES, (), ",metacopy=on"),
    (_NAMESPACES, (), ""),
    (_AS_USER, _DROP, ",userxattr"),
)
_DECIDES = (
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/user/max_mnt_namespaces",
    "/proc/sys/user/max_pid_namespaces",
    "/proc/self/attr/current",
)
NO_OVERLAY = 3
_PROBE = """
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work"$1" merged \
  && : > merged/written || exit 3
"""


@dataclass(frozen=True)
class Confinement:
    """How jobs are held on a host."""

    prefix: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    overlay: bool = False
    overlay_options: str = ""
    entered: str = ""
    """A mount namespace that there is, in which a job's own one begins."""
    setpriv: str | None = field(default_factory=lambda: shutil.which("setpriv"))
    """What has a process die with the one that started it; None where the host has it not."""

    def entering(self, namespace: str, cwd: Path) -> Confinement:
        """The same in a mount namespace that there is, where jobs see snapshots as their own."""
        prefix = ("nsenter", f"--mount={namespace}", f"--wdns={cwd}", *self.prefix)
        return replace(self, prefix=prefix, overlay_options="", entered=namespace)

    @property
    def namespaces(self) -> bool:
        """Whether a job has a PID and a mount namespace of its own."""
        return bool(self.prefix)

    @property
    def processes(self) -> str:
        """The word for it in records."""
        return "pid_namespace" if self.namespaces else "process_group"

    def overlay_text(self, lower: Path, upper: Path, target: str) -> str:
        """The shell text that shows a directory with changes over another one.

        Both are relative to the working directory; `work`, beside `upper`, is the overlay's own.
        """
        there = shlex.quote(target)
        user = ",userxattr" if "userxattr" in self.overlay_options or self.drop else ""
        options = f"lowerdir={lower},upperdir={upper},workdir={upper.with_name('work')}{user}"
        return f"mkdir -p {there} && mount -t overlay overlay -o {options} {there} || exit 125\n"

    def workspace_kind(self, *, writable: bool) -> str:
        """What becomes the job's workspace: `overlay`, `read_only` or `copy`."""
        if not writable and self.namespaces:
            return "read_only"
        return "overlay" if writable and self.overlay else "copy"

    def holding(self, argv: Sequence[str]) -> list[str]:
        """The command line of a program with which, in namespaces, all that it started dies.

        Without namespaces it gets TERM when its parent dies.
        """
        return dying(
            self.setpriv, [*self.prefix, *self.drop, *argv], "KILL" if self.prefix else "TERM"
        )

    def shell_argv(
        self, snapshot: Path, workspace: Workspace, kind: str, program: Sequence[str]
    ) -> list[str]:
        """The command line of a program in a workspace that was kept; paths as in `argv`."""
        mount = {
            "overlay": 'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper'
            ',workdir=$2/work$3" "$2/workspace" && ',
            "read_only": 'mount --bind "$1" "$2/workspace" && ',
        }.get(kind, "")
        script = f'{mount}cd "$2/workspace" && shift 3 && exec "$@"'
        places = (str(snapshot), str(workspace.root), self.overlay_options)
        prefix, drop = (self.prefix, self.drop) if mount else ((), ())
        return [*prefix, "bash", "-c", script, "pikaci-shell", *places, *drop, *program]


def bind_text(source: str, target: str, *, writable: bool) -> str:
    """The shell text that shows a path at another one, which is made if it is not there."""
    this, there = shlex.quote(source), shlex.quote(target)
    parent = shlex.quote(os.path.dirname(target))  # noqa: PTH120 - strings for a shell
    made = f"if [ -d {this} ]; then mkdir -p {there}; else mkdir -p {parent} && : >>{there}; fi"
    read_only = "" if writable else f" && mount -o remount,bind,ro {there}"
    return f"{{ {made}; }} && mount --bind {this} {there}{read_only} || exit 125\n"


def with_env(env: Mapping[str, str]) -> list[str]:
    """What runs a program with these variables beside those that there are."""
    return ["env", *(f"{name}={value}" for name, value in env.items())]


async def probe(state: StateLayout) -> Confinement:
    """Find out what this host allows, by doing it below the state root.

    A way that was found is known until the machine, its settings or our rights are others.
    """
    if sys.platform != "linux" or not shutil.which("unshare"):
        return Confinement()
    answers = Answers(state.answers)
    key = f"confinement-{key_of(_surroundings(state.root))}"
    if known := answers.find(key):
        return _confinement(*_WAYS[int(known)])
    found = await _probe(state.slots / f"probe-{os.urandom(4).hex()}")
    if found.overlay:
        way = next(n for n, way in enumerate(_WAYS) if _confinement(*way) == found)
        answers.keep(key, str(way).encode())
    return found


def _confinement(prefix: tuple[str, ...], drop: tuple[str, ...], options: str) -> Confinement:
    return Confinement(prefix, drop, overlay=True, overlay_options=options)


def _surroundings(root: Path) -> list[str]:
    """What decides on what the kernel gives to us, as far as it can change."""
    found = [str(os.getresuid()), str(root.stat().st_dev)]
    for name in _DECIDES:
        with suppress(OSError):
            found.append(Path(name).read_text(encoding="utf-8", errors="replace"))
    found += [str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("mnt", "pid", "user")]
    status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    rights = ("Cap", "NoNewPrivs", "Seccomp:")
    found += [line for line in status.splitlines() if line.startswith(rights)]
    programs = (shutil.which(name) for name in ("unshare", "mount", "bash"))
    return found + [f"{path} {Path(path).stat().st_mtime_ns}" for path in programs if path]


async def _probe(scratch: Path) -> Confinement:
    """Do it in `scratch`, which is removed."""
    found = Confinement()
    try:
        for name in ("lower", "upper", "work", "merged"):
            make_private(scratch / name)
        for prefix, drop, options in _WAYS:
            argv = [*prefix, "bash", "--noprofile", "--norc", "-c", _PROBE, "probe", options]
            done = await run(argv, deadline_secs=PROBE_DEADLINE_SECS, cwd=scratch)
            if done.exit_code == 0:
                return _confinement(prefix, drop, options)
            if done.exit_code == NO_OVERLAY and not found.namespaces:
                found = Confinement(prefix, drop)
    finally:
        remove_tree(scratch)
    return found


async def own_snapshots(snapshots: Path) -> int | None:
    """Open a mount namespace in which root sees its snapshots as root's; None if it can't be had.

    See `idmap`.
    """
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("nsenter"):
        return None
    found: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def work() -> None:
        with span("show snapshots as own"):
            try:
                opened: int | None = idmap.open_namespace(str(snapshots))
            except OSError:
                opened = None
        found.get_loop().call_soon_threadsafe(_settle, found, opened)

    # A thread of its own, which ends with its namespace.
    threading.Thread(target=work, daemon=True).start()
    return await found


def _settle(found: asyncio.Future[int | None], opened: int | None) -> None:
    if not found.cancelled():
        found.set_result(opened)
    elif opened is not None:
        os.close(opened)

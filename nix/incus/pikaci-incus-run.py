#!/usr/bin/env -S python3 -IS
# ruff: noqa: PTH102, PTH103, PTH105, PTH106, PTH108, PTH110, PTH112, PTH116, PTH120, PTH123, PTH208 - pathlib costs start-up,
# which each job pays twice: hence also the plain classes, and imports where they are used.
"""Runs one job in a guest: `pikaci-incus-run`, contract 1.

The host execs it, as root, with these variables:

    PIKACI_INCUS_CONTRACT            1
    PIKACI_INCUS_GUEST_COMMAND       run as `bash --noprofile --norc -c COMMAND`
    PIKACI_INCUS_TIMEOUT_SECS        whole seconds; then TERM to all of the job, then KILL
    PIKACI_INCUS_RUN_AS_ROOT         0: as user pikaci (uid 1000, group users); 1: as root
    PIKACI_INCUS_USER                the name of another user for jobs that aren't root, whom the
                                     guest has (default: pikaci)
    PIKACI_INCUS_WRITABLE_WORKSPACE  1 (default): what the job writes lies over the snapshot, which
                                     stays as it is; 0: read-only
    PIKACI_INCUS_SNAPSHOT            where the snapshot is, if not at the workspace, which is then
                                     made: a writable copy, and nothing is mounted
    PIKACI_INCUS_STORE               where the host mounted store paths, to be seen at /nix/store
                                     (default: nowhere)
    PIKACI_INCUS_ENV                 the job's variables, a JSON object of strings (default: none)
    PIKACI_INCUS_PATH                directories that come first in the PATH the runner gives
                                     (default: none)
    PIKACI_INCUS_CACHES              what the job finds at paths of its own, a JSON list of {path,
                                     view, lower} (default: none): the directory `upper` of `view`,
                                     over `lower` where that isn't empty, by an overlay. In `view`,
                                     `ready` is made of each that is there
    PIKACI_INCUS_GRACE_SECS          from TERM to KILL (default 10)
    PIKACI_INCUS_MOUNTS              paths that must be mounts, with `:` between them
                                     (default: /workspace/snapshot:/artifacts); the store's is one

The kernel takes 128 KiB a variable. What is longer goes into a file:
`PIKACI_INCUS_GUEST_COMMAND_FILE` and `PIKACI_INCUS_ENV_FILE` name files to read instead. A host
whose exec passes no variables writes them all into one, a JSON object of strings: `--variables
FILE`, whose values go over the exec's. `--wait FILE` does so as soon as FILE and all mounts are
there: started by the guest's first process, it makes the exec needless. Nothing else of the exec's
environment reaches the job. It gets a small one of the runner's (PATH, HOME, USER, LOGNAME, SHELL,
PWD, LANG), over that what the guest's own `/etc/pikaci/environment.json` says, over that
PIKACI_INCUS_ENV, and PIKACI_ARTIFACTS.

    /workspace/snapshot      the snapshot, which the host mounts; the job's working directory
    /artifacts/guest.log     the job's output, through a pipe that belongs to its user: opening
                             /dev/stderr anew works, and does not cut the log off
    /artifacts/events.jsonl  what the runner did
    /artifacts/result.json   how it ended: written whole or not at all, and last of all
    /artifacts/files         $PIKACI_ARTIFACTS

The exec returns as soon as the runner is a daemon, which outlives its client. A second exec in one
guest starts nothing and says so: a host that lost the answer may ask again.
`--check-contract` starts nothing either; it says whether an exec would: it needs the variables
CONTRACT, MOUNTS, SNAPSHOT and STORE. Both print one JSON object {contract, state: started |
already_started | ready}, or what is wrong on stderr, and exit with

    0   started, or started before; with --check-contract: ready
    64  a variable or an argument is missing or wrong
    69  a mount isn't there yet: try again
    71  the kernel has no process for it, or the guest no shell
    73  /artifacts can't be written to, or not all of it handed over
    76  another contract than 1 is asked for

of which all but 0 mean that nothing was done, or with `--hand-over` not all.

`--shell` is for people, on a terminal, in a guest that was kept: with the job's variables CONTRACT,
RUN_AS_ROOT and ENV it becomes the job's user in the job's directory with the job's environment, and
an interactive bash (or with GUEST_COMMAND `bash -c COMMAND`), whose exit code is the exec's. TERM
is the exec's own (default: dumb).

`--secrets FILE` names a file in memory with the job's secrets, a line each of a name, a space and
the value in base64, which the runner removes. The job finds each in the file that
PIKACI_SECRET_<name> names, in a file system in memory that its user alone may read, and that is
gone when the job is over. PIKACI_INCUS_REDACTOR names a Python file, of which the function
`copy(source, target, secrets)` copies the job's output to guest.log without them.

`--hand-over UID:GID` is for a host's user who isn't root, when the job is over: /artifacts and
everything below it is that user's afterwards, who may read and remove it all. It follows no link,
leaves no setuid bit, keeps off other file systems, and prints nothing. Of the variables it needs
CONTRACT.

result.json: schema_version, status, exit_code (null after a signal), signal (its number, or null),
oom_kills (the processes that the kernel killed meanwhile for want of memory; only where there were
any), memory_limited (false, only in a container whose memory nothing limits), started_at,
finished_at, message. status is passed, failed, timed_out, or error: the command never
ran, or the runner was told to stop (by TERM).

events.jsonl: one object a line with event, schema_version, ts. event is runner_started (contract,
pid), store_ready (store: overlay | bind), workspace_ready (workspace), cache_missing (path, reason:
of a cache that the kernel can't show), command_started (pid),
terminating (reason: timeout | stop), command_finished (status, exit_code). workspace is one of

    overlay            over the snapshot; what is written is on the guest's disk
    overlay_in_memory  likewise, where that disk can't carry an overlay
    copy               on the guest's disk, over the snapshot: for a job of user pikaci where the
                       snapshot is another user's, so that through an overlay it couldn't write.
                       Contents, modes, times and symbolic links are the snapshot's, all is
                       pikaci's. With PIKACI_INCUS_SNAPSHOT it is the workspace itself. Made
                       by the guest's cp and chown
    read_only          the snapshot itself

Where the guest has a store of its own, an overlay shows both at /nix/store, the host's first, and
nothing can write there (store_ready: overlay). A guest with nothing at /nix/store sees the host's.

The command leads a session and a process group. On Linux the runner is its subreaper: whatever it
starts, `setsid` and double forks included, stays below the runner, is found through /proc, and is
killed when the command ends. (A PID namespace would hold it as well, but an unprivileged container
may not mount the /proc that belongs to one.) What a job that is root has the guest's systemd start
is the guest's.

On a Mac, too, Python 3.9 or later runs it. There it mounts nothing: a writable workspace takes
PIKACI_INCUS_SNAPSHOT, a read-only one a snapshot that is so, MOUNTS and STORE name nothing, and a
job whose user owns /artifacts can write to all of it. Without /proc only the command's process
group is killed. Where /artifacts/files can't be given to the job's user, all may write there.

`--stop` tells the runner that is at work to end its job: TERM to all of it, then KILL, and the
result says so. Where none is at work it does nothing.

`--root DIR` puts all paths that no variable names below DIR: for the runner's own tests, outside
any guest.
"""

from __future__ import annotations

import errno
import os
import pwd
import select
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    User = pwd.struct_passwd

CONTRACT = "1"
SCHEMA_VERSION = 1

USAGE, NOT_READY, NO_PROCESS, UNWRITABLE, OTHER_CONTRACT = 64, 69, 71, 73, 76

PIKACI = "pikaci"
PIKACI_UID = 1000
USERS_GID = 100
GRACE_SECS = 10.0
"""From TERM to KILL: long enough to flush and close, short enough to wait for."""
KILL_DEADLINE_SECS = 30.0
"""For killed processes to be gone, a disk in trouble included."""
KILL_PAUSE_SECS = 0.02
RESERVE_BYTES = 16 * 1024
"""Kept free in /artifacts, so that a job that fills the disk still has a result."""
RESULT_TRIES, RESULT_PAUSE_SECS = 10, 0.5
MAC_COPY_TRIES, MAC_COPY_PAUSE_SECS = 10, 0.2
FULL_BYTES = 64 * 1024
"""A disk with less room than that is full."""
PIPE_BYTES = 1024 * 1024
"""What the log's pipe holds: few switches between those that print and what copies."""
JOB_OOM_SCORE = "200"
"""Of what can be killed for want of memory, the job goes before the runner and the guest."""
DRAIN_SECS = 30.0
"""For a full pipe to reach a slow disk, after all who could write to it are gone."""
F_SETPIPE_SZ = 1031
PR_SET_CHILD_SUBREAPER = 36
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
OLD_MEMORY_FILES = "memory.oom_control", "memory.limit_in_bytes"
MEMORY_FILES = "memory.events", "memory.max"
NO_LIMIT_BYTES = 1 << 60
CLONE_NEWNS = 0x20000
SIGNALLED = 128
"""A shell's status of what signal n ended is this and n."""
NO_ID = 2**32 - 1
"""To chown(2): leave it."""
ON_LINUX = sys.platform.startswith("linux")
"""Else on a Mac."""
BASE_PATH = (
    "/run/wrappers/bin:/etc/profiles/per-user/pikaci/bin:/run/current-system/sw/bin:"
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    if ON_LINUX
    else "/opt/homebrew/bin:/opt/homebrew/sbin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
)
"""Where the platform has programs."""


class Refusal(Exception):  # noqa: N818 - it refuses
    """Nothing was done, and why."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class StartError(Exception):
    """The command can't be run."""


class Paths:
    """Where things are in the guest."""

    def __init__(self, root: str, snapshot: str = "") -> None:
        self.root = root
        self.artifacts = self.at("/artifacts")
        self.workspace = self.at("/workspace/snapshot")
        self.snapshot = snapshot or self.workspace

    def at(self, path: str) -> str:
        """The place of an absolute path of the guest."""
        return self.root + path


class Job:
    """What the host asks for, by its variables."""

    def __init__(self, variables: dict[str, str]) -> None:
        timeout = variables.get("PIKACI_INCUS_TIMEOUT_SECS", "")
        if not (timeout.isascii() and timeout.isdecimal() and int(timeout) > 0):
            message = f"PIKACI_INCUS_TIMEOUT_SECS is {timeout!r}, not a number of seconds from 1 up"
            raise Refusal(USAGE, message)
        self.timeout_secs = int(timeout)
        grace = variables.get("PIKACI_INCUS_GRACE_SECS", str(GRACE_SECS))
        try:
            self.grace_secs = float(grace)
        except ValueError:
            self.grace_secs = -1.0
        if not 0 <= self.grace_secs < float("inf"):
            raise Refusal(USAGE, f"PIKACI_INCUS_GRACE_SECS is {grace!r}, not a number of seconds")
        self.command = read_command(variables)
        self.writable = _flag(variables, "PIKACI_INCUS_WRITABLE_WORKSPACE", "1")
        self.store = read_store(variables)
        self.caches = read_caches(variables)
        self.setting = Setting(variables)
        self.secrets: dict[str, bytes] = {}
        self.redactor = variables.get("PIKACI_INCUS_REDACTOR", "")


class Setting:
    """Whom a job runs as, and with which variables: what a shell has, too."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.as_root = _flag(variables, "PIKACI_INCUS_RUN_AS_ROOT", None)
        self.user = variables.get("PIKACI_INCUS_USER") or PIKACI
        self.env = _strings("PIKACI_INCUS_ENV", _text(variables, "PIKACI_INCUS_ENV", "{}"))
        self.path = variables.get("PIKACI_INCUS_PATH", "")


# What the host asks for


def read_command(variables: dict[str, str]) -> str:
    """Take the command from the host's variables."""
    command = _text(variables, "PIKACI_INCUS_GUEST_COMMAND", None)
    if "\0" in command:
        raise Refusal(USAGE, "the command has a NUL")
    return command


def read_store(variables: dict[str, str]) -> str:
    """Take from the host's variables where the store paths are; empty if there are none."""
    store = variables.get("PIKACI_INCUS_STORE", "")
    # An overlay's options are a text, in which these have a meaning.
    if store and (os.path.normpath(store) != store or store[0] != "/" or set(store) & set(",:\\")):
        raise Refusal(
            USAGE, f"PIKACI_INCUS_STORE is {store!r}, not an absolute path in plain letters"
        )
    return store


def read_caches(variables: dict[str, str]) -> list[tuple[str, str, str]]:
    """Take from the host's variables the path, the view and the lower layer of each cache."""
    if not (text := variables.get("PIKACI_INCUS_CACHES")):
        return []
    import json

    try:
        return [(str(row["path"]), str(row["view"]), str(row["lower"])) for row in json.loads(text)]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(USAGE, f"PIKACI_INCUS_CACHES is no list of caches: {error!r}") from None


def read_snapshot(variables: dict[str, str]) -> str:
    """Take from the host's variables where the snapshot is; empty if at the workspace."""
    snapshot = variables.get("PIKACI_INCUS_SNAPSHOT", "")
    if snapshot and not snapshot.startswith("/"):
        raise Refusal(USAGE, f"PIKACI_INCUS_SNAPSHOT is {snapshot!r}, not an absolute path")
    if snapshot and not _flag(variables, "PIKACI_INCUS_WRITABLE_WORKSPACE", "1"):
        raise Refusal(USAGE, "a read-only workspace is where the snapshot is: no other is to be")
    return snapshot


def read_variables(file: str) -> dict[str, str]:
    """Read the host's variables from a file."""
    try:
        return _strings(file, _read(file))
    except (OSError, UnicodeError) as error:
        raise Refusal(USAGE, f"the variables can't be read: {error}") from None


def await_variables(file: str, root: str) -> dict[str, str]:
    """Wait until the file and all that must be mounted are there; the host's variables."""
    # Opened first: the poll ends if the mounts have changed since.
    table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    changes = select.poll()
    changes.register(table, select.POLLPRI)
    while True:
        if os.path.exists(file):
            variables = read_variables(file)
            try:
                check_ready(variables, Paths(root, read_snapshot(variables)))
            except Refusal as refusal:
                if refusal.code != NOT_READY:
                    raise
            else:
                os.close(table)
                return variables
        changes.poll()


def take_secrets(file: str) -> dict[str, bytes]:
    """Take the job's secrets from a file, which is removed."""
    import base64

    try:
        text = _read(file)
        os.unlink(file)
        rows = [line.split(" ", 1) for line in text.splitlines()]
        return {name: base64.b64decode(value) for name, value in rows}
    except FileNotFoundError:
        raise Refusal(NOT_READY, f"there is no {file} yet") from None
    except (OSError, ValueError) as error:
        raise Refusal(USAGE, f"the secrets can't be read: {error}") from None


def _text(variables: dict[str, str], name: str, default: str | None) -> str:
    file = variables.get(f"{name}_FILE")
    if file is not None:
        try:
            return _read(file)
        except (OSError, ValueError) as error:
            raise Refusal(USAGE, f"{name}_FILE can't be read: {error}") from None
    value = variables.get(name, default)
    if value is None:
        raise Refusal(USAGE, f"{name} is missing")
    return value


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _flag(variables: dict[str, str], name: str, default: str | None) -> bool:
    value = variables.get(name, default)
    if value not in {"0", "1"}:
        raise Refusal(USAGE, f"{name} is {'missing' if value is None else repr(value)}, not 0 or 1")
    return value == "1"


def _strings(name: str, text: str) -> dict[str, str]:
    import json

    try:
        values = json.loads(text)
    except ValueError as error:
        raise Refusal(USAGE, f"{name} is not JSON: {error}") from None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise Refusal(USAGE, f"{name} is not a JSON object of strings")
    for key, value in values.items():
        if not key or "=" in key or "\0" in key + value:
            raise Refusal(USAGE, f"{name} has {key!r}, which can't be a variable")
    return values


def check_contract(variables: dict[str, str]) -> None:
    """See that the host speaks this contract."""
    contract = variables.get("PIKACI_INCUS_CONTRACT")
    if contract != CONTRACT:
        asked = "none is named" if contract is None else f"{contract!r} is asked for"
        raise Refusal(
            OTHER_CONTRACT, f"this runner knows contract {CONTRACT}, and {asked}: rebuild the image"
        )


def check_ready(variables: dict[str, str], paths: Paths) -> None:
    """See that what the host mounts is there."""
    store = read_store(variables)
    for directory in (paths.snapshot, paths.artifacts):
        if not os.path.isdir(directory):
            raise Refusal(NOT_READY, f"{directory} isn't there yet")
    expected = variables.get("PIKACI_INCUS_MOUNTS", f"{paths.workspace}:{paths.artifacts}")
    # Not os.path.ismount: it misses a bind mount from one file system to itself.
    lines = _read("/proc/self/mountinfo").split("\n") if ON_LINUX else []
    mounted = {line.split(" ")[4] for line in lines if line}
    escapes = {ord(character): f"\\{ord(character):03o}" for character in " \t\n\\"}
    wanted = {*expected.split(":"), store} - {""}
    missing = sorted(path for path in wanted if path.translate(escapes) not in mounted)
    if missing:
        raise Refusal(NOT_READY, f"nothing is mounted yet at {', '.join(missing)}")
    if not os.access(paths.artifacts, os.W_OK):
        raise Refusal(UNWRITABLE, f"{paths.artifacts} can't be written to")


# The records


def timestamp() -> str:
    """Spell the present as RFC 3339 in UTC with milliseconds."""
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"


class Records:
    """events.jsonl and result.json in /artifacts."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._reserve = f"{directory}/.reserve"
        self._events = -1

    def claim(self) -> bool:
        """Begin, or say that another runner has."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._events = os.open(f"{self._directory}/events.jsonl", flags, 0o644)
        except FileExistsError:
            return False
        try:
            _write_whole(self._reserve, b"\0" * RESERVE_BYTES)
        except OSError:
            self.disclaim()
            raise
        return True

    def disclaim(self) -> None:
        """Undo the claim: nothing was begun."""
        for name in ("events.jsonl", ".reserve"):
            path = f"{self._directory}/{name}"
            if os.path.lexists(path):
                os.unlink(path)

    def event(self, name: str, **values: object) -> None:
        """Add a line. A full disk loses it: the result is what counts."""
        import json

        line = {"event": name, "schema_version": SCHEMA_VERSION, "ts": timestamp(), **values}
        try:
            os.write(self._events, json.dumps(line).encode() + b"\n")
        except OSError:
            return

    def result(self, values: dict[str, Any]) -> None:
        """Write the result whole or not at all."""
        import json

        data = json.dumps({"schema_version": SCHEMA_VERSION, **values}, indent=1).encode() + b"\n"
        for left in reversed(range(RESULT_TRIES)):
            try:
                if os.path.lexists(self._reserve):
                    os.unlink(self._reserve)
                self._replace(data)
            except OSError:
                if not left:
                    raise
                time.sleep(RESULT_PAUSE_SECS)
            else:
                return

    def _replace(self, data: bytes) -> None:
        temp = f"{self._directory}/.result.json.tmp"
        _write_whole(temp, data)
        os.replace(temp, f"{self._directory}/result.json")
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
                raise  # a share's directory may have no such thing
        finally:
            os.close(directory)


def _write_whole(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o644)
    try:
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)


# What the job sees


def show_store(paths: Paths, store: str) -> str:
    """Show the host's store paths at /nix/store; say how."""
    own = paths.at("/nix/store")
    os.makedirs(own, 0o755, exist_ok=True)
    if os.listdir(own):
        flags = MS_RDONLY | MS_NOSUID | MS_NODEV
        _mount("overlay", own, "overlay", flags, f"lowerdir={store}:{own}")
        return "overlay"
    _mount(store, own, "", MS_BIND | MS_REC, "")
    return "bind"


def show_secrets(paths: Paths, secrets: dict[str, bytes], user: User) -> str:
    """Have the secrets in files in memory for the job's user; where."""
    directory = paths.at("/run/pikaci-secrets")
    os.makedirs(directory, 0o700, exist_ok=True)
    owner = f"mode=0700,uid={user.pw_uid},gid={user.pw_gid}"
    try:
        _mount("pikaci-secrets", directory, "tmpfs", MS_NOSUID | MS_NODEV, f"{owner},noswap")
    except StartError:  # an older kernel, or a container
        _mount("pikaci-secrets", directory, "tmpfs", MS_NOSUID | MS_NODEV, owner)
    for name, value in secrets.items():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(f"{directory}/{name}", flags, 0o400)
        with open(fd, "wb") as file:
            os.fchown(fd, user.pw_uid, user.pw_gid)
            file.write(value)
    _mount("", directory, "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, "")
    return directory


def prepare_workspace(paths: Paths, user: User, *, writable: bool) -> str:
    """Mount what the job works in over the snapshot, or copy it; say what it is."""
    directory = paths.at("/var/lib/pikaci/workspace")
    if not writable:
        if ON_LINUX and not os.statvfs(paths.workspace).f_flag & os.ST_RDONLY:
            _mount(paths.workspace, paths.workspace, "", MS_BIND, "")
            _mount("", paths.workspace, "", MS_BIND | MS_REMOUNT | MS_RDONLY, "")
        return "read_only"
    if paths.snapshot != paths.workspace:
        os.makedirs(paths.at("/workspace"), 0o755, exist_ok=True)
        copy_snapshot(os.path.realpath(paths.snapshot), paths.workspace, user)
        return "copy"
    if user.pw_uid and os.stat(paths.workspace).st_uid != user.pw_uid:
        os.makedirs(directory, 0o700, exist_ok=True)
        copy_snapshot(paths.workspace, f"{directory}/copy", user)
        _mount(f"{directory}/copy", paths.workspace, "", MS_BIND, "")
        return "copy"
    try:
        _mount_overlay(paths.workspace, directory, user)
    except (OSError, StartError):
        # The guest's disk can't carry one (it may be an overlay itself, or full): memory can.
        memory = paths.at("/run/pikaci-workspace")
        os.makedirs(memory, 0o700, exist_ok=True)
        _mount("tmpfs", memory, "tmpfs", 0, "mode=0700")
        _mount_overlay(paths.workspace, memory, user)
        return "overlay_in_memory"
    return "overlay"


def show_cache(paths: Paths, user: User, cache: tuple[str, str, str]) -> None:
    """Show a cache at its path, whose missing parents are the job's user's as well."""
    path, view, lower = paths.at(cache[0]), cache[1], cache[2]
    missing = []
    parent = path
    while not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    for directory in reversed(missing):
        os.mkdir(directory, 0o755)
        os.chown(directory, user.pw_uid, user.pw_gid)
    if lower:
        _mount_overlay(lower, view, user, at=path)
    else:
        os.chown(f"{view}/upper", user.pw_uid, user.pw_gid)
        _mount(f"{view}/upper", path, "", MS_BIND, "")
    _write_whole(f"{view}/ready", b"")


def _mount_overlay(snapshot: str, directory: str, user: User, at: str = "") -> None:
    os.makedirs(directory, 0o700, exist_ok=True)
    upper, work = f"{directory}/upper", f"{directory}/work"
    for path in (upper, work):
        os.makedirs(path, 0o755, exist_ok=True)
    # The merged root is the upper one's: the job may write there.
    os.chown(upper, user.pw_uid, user.pw_gid)
    options = f"lowerdir={snapshot},upperdir={upper},workdir={work}"
    # In a user namespace trusted.* attributes are out of reach, and without any attributes of its
    # own an overlay can't replace a directory.
    options += ",userxattr" if _is_container() else ""
    _mount("overlay", at or snapshot, "overlay", 0, options)


def _is_container() -> bool:
    """Whether the guest is a user namespace of its host."""
    return _read("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    if not ON_LINUX:
        raise StartError(f"{sys.platform} can't mount anything at {target}")
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [os.fsencode(text) or None for text in (source, target, kind)]
    if libc.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(options) or None):
        raise StartError(
            f"can't mount {kind or source or 'read-only'} at {target}: "
            f"{os.strerror(ctypes.get_errno())}"
        )


def _unmount(target: str) -> None:
    """Remove a mount of ours, and the directory that was made for it."""
    import ctypes

    ctypes.CDLL(None).umount2(os.fsencode(target), MNT_DETACH)
    os.rmdir(target)


def copy_snapshot(snapshot: str, copy: str, user: User) -> None:
    """Copy a directory's contents into a new one, all of it the user's."""
    os.mkdir(copy, 0o700)
    tries = 0 if ON_LINUX else MAC_COPY_TRIES
    while (trouble := run_tool("cp", "-RPp", f"{snapshot}/.", ".", directory=copy)) and tries:
        # On a Mac's share a file may seem not to be there for a moment.
        tries -= 1
        time.sleep(MAC_COPY_PAUSE_SECS)
        run_tool("chmod", "-R", "u+w", ".", directory=copy)
    trouble = trouble or run_tool(
        "chown", "-Rh", f"{user.pw_uid}:{user.pw_gid}", ".", directory=copy
    )
    if trouble:
        disk = os.statvfs(copy)
        is_full = disk.f_bavail * disk.f_frsize < FULL_BYTES or (disk.f_files and not disk.f_favail)
        raise StartError(
            f"the guest's disk has no room for a copy of the snapshot at {copy}"
            if is_full
            else f"the snapshot can't be copied to {copy}: {trouble}"
        )
    os.chmod(copy, 0o755)  # noqa: PTH101, S103 - the job may write there, as in an overlay


def run_tool(*arguments: str, directory: str) -> str:
    """Run one of the guest's programs; its first error, or nothing if it succeeded."""
    import subprocess

    environment = {"PATH": BASE_PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            arguments, cwd=directory, env=environment, capture_output=True, check=False
        )
    except OSError as error:
        return f"{arguments[0]} can't be run: {error.strerror}"
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    return (lines or [f"{arguments[0]} ended with {done.returncode}"])[0] if done.returncode else ""


# The command


def find_user(setting: Setting) -> User:
    """Whom the job runs as; a guest without a user pikaci has its numbers."""
    name = "root" if setting.as_root else setting.user
    numbers = {"root": (0, 0), PIKACI: (PIKACI_UID, USERS_GID)}.get(name)
    try:
        found = pwd.getpwuid(numbers[0]) if numbers else pwd.getpwnam(name)
    except KeyError:
        if not numbers:
            raise StartError(f"the guest has no user {name!r}") from None
        found = None
    if found and (name != PIKACI or found.pw_name == PIKACI):
        return found
    home = "/root" if setting.as_root else "/tmp"  # noqa: S108 - there is no home
    return pwd.struct_passwd((name, "", *(numbers or ()), "", home, ""))


def job_environment(setting: Setting, user: User, paths: Paths, bash: str) -> dict[str, str]:
    """The whole environment of the command."""
    try:
        guest = _strings("environment.json", _read(paths.at("/etc/pikaci/environment.json")))
    except FileNotFoundError:
        guest = {}
    except (OSError, Refusal) as error:
        raise StartError(f"{paths.at('/etc/pikaci/environment.json')}: {error}") from None
    base = {
        "PATH": ":".join(filter(None, (setting.path, BASE_PATH))),
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": bash,
        "PWD": paths.workspace,  # which may lie behind a link
        "LANG": "C.UTF-8" if ON_LINUX else "en_US.UTF-8",
    }
    return {**base, **guest, **setting.env, "PIKACI_ARTIFACTS": f"{paths.artifacts}/files"}


def find_bash() -> str:
    """Where the guest has bash."""
    for directory in BASE_PATH.split(":"):
        if os.access(f"{directory}/bash", os.X_OK):
            return f"{directory}/bash"
    raise StartError(f"there is no bash in {BASE_PATH}")


def start_command(job: Job, user: User, paths: Paths, log: int, records: Records) -> int:
    """Start the command in a session of its own; its process id."""
    bash = find_bash()
    environment = job_environment(job.setting, user, paths, bash)
    arguments = [bash, "--noprofile", "--norc", "-c", job.command]
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            owned = user.pw_uid != 0 and os.stat(paths.artifacts).st_uid == user.pw_uid
            if owned and ON_LINUX:
                _close_artifacts(paths)
            _go_first()
            _become(user, paths.workspace)
            # Before it can do anything: it may stop the runner.
            records.event("command_started", pid=os.getpid())
            os.execve(bash, arguments, environment)  # noqa: S606 - there is no shell but the job's
        except BaseException as error:  # noqa: BLE001 - a forked child must not return
            os.write(writer, str(error).encode("utf-8", "replace")[:4096])
        os._exit(127)
    os.close(writer)
    with open(reader, "rb") as pipe:
        trouble = pipe.read().decode("utf-8", "replace")
    if trouble:
        os.waitpid(pid, 0)
        raise StartError(f"the command can't be started: {trouble}")
    return pid


def _close_artifacts(paths: Paths) -> None:
    """Leave the job nothing of /artifacts to write to but its files, though they are its user's.

    That is so where the orchestrator has the user's number. The job could else put a result of its
    own in the place of the runner's. In a mount namespace of the job's own, as the runner writes.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise StartError(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    _mount("", "/", "", MS_REC | MS_PRIVATE, "")
    files = os.open(f"{paths.artifacts}/files", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _mount(paths.artifacts, paths.artifacts, "", MS_BIND, "")
    kept = os.statvfs(paths.artifacts).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount("", paths.artifacts, "", MS_BIND | MS_REMOUNT | MS_RDONLY | kept, "")
    _mount(f"/proc/self/fd/{files}", f"{paths.artifacts}/files", "", MS_BIND, "")


def _go_first() -> None:
    """Have the kernel kill this process, and what it starts, before others."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(JOB_OOM_SCORE)
    except OSError:
        return  # a Mac, or a higher one already


def _become(user: User, directory: str) -> None:
    import signal

    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    if os.geteuid() == 0:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    os.chdir(directory)


class Log:
    """A pipe, and a process that copies what comes through it to guest.log.

    That process isn't below the runner, which ends all that is. To be made before the runner
    becomes its descendants' subreaper.
    """

    def __init__(self, file: int, user: User, job: Job) -> None:
        copy = _redacting(job) if job.secrets else _copy
        source, self.sink = os.pipe()
        if ON_LINUX:
            os.fchown(self.sink, user.pw_uid, user.pw_gid)
            import fcntl

            try:  # noqa: SIM105 - that import costs start-up
                fcntl.fcntl(self.sink, F_SETPIPE_SZ, PIPE_BYTES)
            except OSError:
                pass  # more than this user may have
        self._done, done = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if not os.fork():
                    os.setsid()
                    for end in (self.sink, self._done):
                        os.close(end)
                    os.write(done, copy(source, file).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        for end in (source, file, done):
            os.close(end)

    def hand_over(self) -> None:
        """Leave the writing end to those who have it by now."""
        os.close(self.sink)

    def drain(self) -> None:
        """Wait until all that was printed is in the file."""
        if select.select([self._done], [], [], DRAIN_SECS)[0]:
            trouble = os.read(self._done, 4096).decode()
            if trouble:
                raise OSError(f"what the job printed can't be written to guest.log: {trouble}")


def _redacting(job: Job) -> Callable[[int, int], str]:
    """As `_copy`, without the job's secrets."""
    program: dict[str, Any] = {"__name__": "redactor"}
    try:
        exec(compile(_read(job.redactor), job.redactor, "exec", dont_inherit=True), program)  # noqa: S102 - the host's
    except (OSError, SyntaxError) as error:
        raise StartError(f"the output can't be kept clear of secrets: {error}") from None

    def copy(source: int, file: int) -> str:
        try:
            program["copy"](source, file, job.secrets.values())
        except OSError as error:
            while os.read(source, PIPE_BYTES):
                pass
            return os.strerror(error.errno or 0)
        return ""

    return copy


def _copy(source: int, file: int) -> str:
    """Copy to the end of `source`, even if the disk is full; what went wrong, if anything did."""
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(os, "splice"):
        try:
            while os.splice(source, file, PIPE_BYTES):
                pass
        except OSError:
            pass  # a file system without it, or a full one, as the loop below finds out
        else:
            return ""
    trouble = ""
    while data := os.read(source, PIPE_BYTES):
        try:
            while data:
                data = data[os.write(file, data) :]
        except OSError as error:
            trouble = trouble or os.strerror(error.errno or 0)
    return trouble


class Memory:
    """What the kernel does about this guest's memory: its control groups say so.

    A guest need not have the groups mounted. They are mounted for a moment then.
    """

    def __init__(self, paths: Paths) -> None:
        self._events = -1
        self._is_limited = True
        try:  # noqa: SIM105 - that import costs start-up
            self._look(paths)
        except (LookupError, OSError, StartError):
            pass  # no groups are mounted, or can be
        self._kills_before = self._kills()

    def found(self) -> dict[str, Any]:
        """What a result has of it."""
        kills = self._kills() - self._kills_before
        values: dict[str, Any] = {"oom_kills": kills} if kills else {}
        return values if self._is_limited else {**values, "memory_limited": False}

    def _kills(self) -> int:
        if self._events < 0:
            return 0
        words = os.pread(self._events, 4096, 0).split()
        return int(words[words.index(b"oom_kill") + 1]) if b"oom_kill" in words else 0

    def _look(self, paths: Paths) -> None:
        groups = {}
        for line in _read("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.split(","), path))
        is_old = "memory" in groups
        here = groups["memory" if is_old else ""]
        kind, where = ("cgroup", "/memory") if is_old else ("cgroup2", "")
        if os.path.exists(f"/sys/fs/cgroup{where}/cgroup.procs"):
            self._read_groups(f"/sys/fs/cgroup{where}", here, is_old=is_old)
            return
        top = paths.at("/run/pikaci-cgroup")
        os.makedirs(top, 0o700, exist_ok=True)
        _mount("cgroup", top, kind, 0, "memory" if is_old else "")
        try:
            self._read_groups(top, here, is_old=is_old)
        finally:
            _unmount(top)

    def _read_groups(self, top: str, here: str, *, is_old: bool) -> None:
        """Look into the runner's group and those above, the nearest first."""
        self._is_limited = not _is_container()
        events, limit = OLD_MEMORY_FILES if is_old else MEMORY_FILES
        while True:
            group = f"{top}{here}"
            if self._events < 0 and os.path.exists(f"{group}/{events}"):
                self._events = os.open(f"{group}/{events}", os.O_RDONLY | os.O_CLOEXEC)
            if os.path.exists(f"{group}/{limit}"):
                value = _read(f"{group}/{limit}").strip()
                self._is_limited |= value.isdecimal() and int(value) < NO_LIMIT_BYTES
            if here in {"", "/"}:
                return
            here = here.rpartition("/")[0]


class Waiter:
    """Waits for a command and for the word to stop, and ends what the command started."""

    def __init__(self) -> None:
        import signal

        self._told_to_stop = False
        self._reader, writer = os.pipe()
        for end in (self._reader, writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if ON_LINUX:
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def _stop(self, _number: int, _frame: object) -> None:
        self._told_to_stop = True

    def wait(self, pid: int, job: Job, records: Records) -> dict[str, Any]:
        """Wait for the command, its deadline or a TERM; how it ended, and nothing of it runs."""
        import signal

        deadline = time.monotonic() + job.timeout_secs
        status = self._reap_until(pid, deadline, stoppable=True)
        timed_out = stopped = False
        if status is None:
            stopped = self._told_to_stop
            timed_out = not stopped
            records.event("terminating", reason="timeout" if timed_out else "stop")
            _signal_all(pid, signal.SIGTERM)
            status = self._reap_until(pid, time.monotonic() + job.grace_secs, stoppable=False)
        killed_at = time.monotonic()
        left_running = False
        while not left_running and (status is None or _below(pid)):
            _signal_all(pid, signal.SIGKILL)
            ended = self._reap_until(pid, time.monotonic() + KILL_PAUSE_SECS, stoppable=False)
            status = ended if status is None else status
            left_running = time.monotonic() - killed_at > KILL_DEADLINE_SECS
        values = describe(signal.SIGKILL if status is None else status)
        if timed_out:
            message = f"the command ran longer than {job.timeout_secs} s"
            values |= {"status": "timed_out", "message": message}
        elif stopped:
            values |= {"status": "error", "message": "the runner was told to stop"}
        if left_running:
            values["message"] += "; some of what it started can't be killed"
        return values

    def _reap_until(self, pid: int, deadline: float, *, stoppable: bool) -> int | None:
        status = None
        while True:
            try:
                while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                    if reaped[0] == pid:
                        status = reaped[1]
            except ChildProcessError:
                return status
            left = deadline - time.monotonic()
            if status is not None or left <= 0 or (stoppable and self._told_to_stop):
                return status
            select.select([self._reader], [], [], left)
            try:
                os.read(self._reader, 4096)
            except BlockingIOError:
                continue


def _signal_all(leader: int, number: int) -> None:
    for pid in _below(leader):
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _below(leader: int) -> list[int]:
    """All processes below this one. Without /proc: the leader's group, as kill(2) names it."""
    listed = os.listdir("/proc") if os.path.isdir("/proc") else []
    names = [name for name in listed if name.isdecimal()]
    if not names:
        try:
            os.kill(-leader, 0)
        except (ProcessLookupError, PermissionError):
            return []
        return [-leader]
    children: dict[int, list[int]] = {}
    for name in names:
        try:
            parent = _read(f"/proc/{name}/stat").rpartition(")")[2].split()[1]
        except OSError:
            continue
        children.setdefault(int(parent), []).append(int(name))
    found, todo = [], [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


# The daemon


def run(job: Job, paths: Paths, records: Records) -> None:
    """Run the job to its result, whatever that is."""
    started_at = timestamp()
    values: dict[str, Any]
    secrets = ""
    try:
        user = find_user(job.setting)
        log = Log(_open_artifacts(paths, user), user, job)
        waiter = Waiter()
        memory = Memory(paths)
        if job.store:
            records.event("store_ready", store=show_store(paths, job.store))
        workspace = prepare_workspace(paths, user, writable=job.writable)
        records.event("workspace_ready", workspace=workspace)
        for cache in job.caches:
            try:
                show_cache(paths, user, cache)
            except (OSError, StartError) as error:
                # The job does without.
                records.event("cache_missing", path=cache[0], reason=str(error))
        started_at = timestamp()
        if job.secrets:
            secrets = show_secrets(paths, job.secrets, user)
            named = {f"PIKACI_SECRET_{name}": f"{secrets}/{name}" for name in job.secrets}
            job.setting.env.update(named)
        pid = start_command(job, user, paths, log.sink, records)
        log.hand_over()
        values = waiter.wait(pid, job, records)
        log.drain()
        flush(paths)
    except Exception as error:  # noqa: BLE001 - whatever happens ends in a result
        values = {"status": "error", "exit_code": None, "signal": None, "message": str(error)}
    else:
        values |= memory.found()
    if secrets:
        _unmount(secrets)
    records.event("command_finished", status=values["status"], exit_code=values["exit_code"])
    records.result({**values, "started_at": started_at, "finished_at": timestamp()})


def _open_artifacts(paths: Paths, user: User) -> int:
    files = f"{paths.artifacts}/files"
    os.makedirs(files, 0o755, exist_ok=True)
    try:  # noqa: SIM105 - that import costs start-up
        os.chown(files, user.pw_uid, user.pw_gid)
    except OSError:
        pass
    # A share whose owners are the host's may also say nothing of it.
    if os.stat(files).st_uid != user.pw_uid:
        os.chmod(files, 0o777)  # noqa: PTH101, S103 - all the job is to write in
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(f"{paths.artifacts}/guest.log", flags, 0o644)


def flush(paths: Paths) -> None:
    """Have the host see all that a Mac's guest has left it, before there is a result.

    Linux's shares are the host's files; a Mac may still have written to none. There the host's user
    is any user, whom a mode may keep out.
    """
    if ON_LINUX:
        return
    os.sync()
    for directory, _, names in os.walk(paths.artifacts):
        for name in names:
            path = f"{directory}/{name}"
            try:
                mode = os.lstat(path).st_mode
                if stat.S_ISREG(mode) and not mode & stat.S_IRUSR:
                    os.chmod(path, stat.S_IMODE(mode) | stat.S_IRUSR)  # noqa: PTH101 - see above
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
            except OSError:
                continue  # no file, or none that may be read: what it is the host will see


def describe(wait_status: int) -> dict[str, Any]:
    """The result's values for a command that ended by itself."""
    number = os.WTERMSIG(wait_status) if os.WIFSIGNALED(wait_status) else None
    code = None if number else os.WEXITSTATUS(wait_status)
    status, message = "failed", f"the command ended with exit code {code}"
    if number:
        message = f"the command was killed by {_signal(number)}"
    elif not code:
        status, message = "passed", "the command succeeded"
    elif code > SIGNALLED and _signal(code - SIGNALLED).startswith("SIG"):
        message += f" ({SIGNALLED} + {code - SIGNALLED}: {_signal(code - SIGNALLED)})"
    return {"status": status, "exit_code": code, "signal": number, "message": message}


def _signal(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def daemonise(job: Job, paths: Paths, records: Records) -> None:
    """Continue as a daemon."""
    child = os.fork()
    if child:
        if os.waitpid(child, 0)[1]:
            raise OSError("the second fork failed")
        return
    code = 1
    try:
        os.setsid()
        if not os.fork():
            os.chdir("/")
            null = os.open(os.devnull, os.O_RDWR)
            for target in (0, 1, 2):
                os.dup2(null, target)
            records.event("runner_started", contract=int(CONTRACT), pid=os.getpid())
            run(job, paths, records)
        code = 0
    finally:
        os._exit(code)


# Afterwards


def shell(variables: dict[str, str], paths: Paths) -> NoReturn:
    """Become a shell, or one command of it, as the job was run."""
    setting = Setting(variables)
    asked = {"PIKACI_INCUS_GUEST_COMMAND", "PIKACI_INCUS_GUEST_COMMAND_FILE"} & set(variables)
    what = ["-c", read_command(variables)] if asked else ["-i"]
    try:
        user, bash = find_user(setting), find_bash()
        environment = job_environment(setting, user, paths, bash)
        environment["TERM"] = variables.get("TERM") or "dumb"
        environment.setdefault("PS1", r"pikaci:\w\$ ")
        if os.isatty(0) and os.geteuid() == 0:
            # As login(1) does, or /dev/tty and /dev/stderr can't be opened.
            os.fchown(0, user.pw_uid, -1)
        _become(user, paths.workspace)
        os.execve(bash, [bash, "--noprofile", "--norc", *what], environment)  # noqa: S606 - it is
    except (OSError, StartError) as error:
        raise Refusal(NO_PROCESS, f"the shell can't be started: {error}") from None


def read_owner(text: str) -> tuple[int, int]:
    """Read UID:GID."""
    numbers = text.split(":")
    plain = all(number.isascii() and number.isdecimal() for number in numbers)
    if not plain or len(numbers) != 2 or max(map(int, numbers)) >= NO_ID:  # noqa: PLR2004 - uid, gid
        raise Refusal(USAGE, f"--hand-over has {text!r}, not UID:GID in numbers")
    return int(numbers[0]), int(numbers[1])


def hand_over(paths: Paths, owner: tuple[int, int]) -> None:
    """Give /artifacts with everything below it to a user, who may read it then."""
    # A mount of /artifacts alone: what a job has mounted below it is elsewhere.
    place = paths.at("/run/pikaci-artifacts")
    try:
        if not stat.S_ISDIR(os.lstat(paths.artifacts).st_mode):
            raise StartError("it is not a directory")  # noqa: TRY301 - told like the others
        os.makedirs(place, 0o700, exist_ok=True)
        _mount(paths.artifacts, place, "", MS_BIND, "")
        try:
            # First the mode, without setuid bits: what was root's belongs to another user next.
            trouble = run_tool("chmod", "-R", "u+rwX,a-st", place, directory="/")
            who = "{}:{}".format(*owner)
            trouble = run_tool("chown", "-Rh", who, place, directory="/") or trouble
        finally:
            _unmount(place)
    except (OSError, StartError) as error:
        trouble = str(error)
    if trouble:
        trouble = trouble.replace(place, paths.artifacts)
        raise Refusal(UNWRITABLE, f"{paths.artifacts} can't be handed over: {trouble}")


# The program


def main(arguments: list[str]) -> None:
    """Do what the arguments and variables say."""
    action, owner = "", (NO_ID, NO_ID)
    given = {"--root": "", "--secrets": "", "--wait": ""}
    variables = dict(os.environ)
    while arguments:
        argument, *arguments = arguments
        if argument in given and arguments:
            given[argument], *arguments = arguments
        elif argument == "--variables" and arguments:
            variables.update(read_variables(arguments[0]))
            arguments = arguments[1:]
        elif not action and argument in {"--check-contract", "--shell", "--stop"}:
            action = argument
        elif not action and argument == "--hand-over" and arguments:
            action, owner = argument, read_owner(arguments[0])
            arguments = arguments[1:]
        else:
            raise Refusal(
                USAGE,
                f"unknown argument {argument!r}; this program has one of --check-contract, "
                "--stop, --shell, and --hand-over UID:GID, with --variables FILE, --wait FILE, "
                "--secrets FILE",
            )
    root = given["--root"]
    if given["--wait"]:
        variables.update(await_variables(given["--wait"], root))
    check_contract(variables)
    paths = Paths(root, read_snapshot(variables))
    if action == "--shell":
        shell(variables, paths)
    elif action == "--stop":
        stop(paths)
    elif action == "--hand-over":
        hand_over(paths, owner)
    else:
        check_ready(variables, paths)
        state = (
            "ready" if action == "--check-contract" else start(variables, paths, given["--secrets"])
        )
        sys.stdout.write(f'{{"contract": {CONTRACT}, "state": "{state}"}}\n')


def start(variables: dict[str, str], paths: Paths, secrets: str) -> str:
    """Start the job unless it is started; say which."""
    job = Job(variables)
    if secrets:
        job.secrets = take_secrets(secrets)
    records = Records(paths.artifacts)
    try:
        claimed = records.claim()
    except OSError as error:
        raise Refusal(UNWRITABLE, f"{paths.artifacts} can't be written to: {error}") from None
    if not claimed:
        return "already_started"
    try:
        daemonise(job, paths, records)
    except OSError as error:
        records.disclaim()
        raise Refusal(NO_PROCESS, f"the runner can't become a daemon: {error}") from None
    return "started"


def stop(paths: Paths) -> None:
    """Tell the runner that is at work, if any is, to end its job."""
    import json
    import signal

    try:
        line = _read(f"{paths.artifacts}/events.jsonl").partition("\n")[0]
        os.kill(int(json.loads(line)["pid"]), signal.SIGTERM)
    except (OSError, ValueError, KeyError, TypeError):
        return


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refusal as refusal:
        sys.stderr.write(f"pikaci-incus-run: {refusal}\n")
        sys.exit(refusal.code)

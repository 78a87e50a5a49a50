"""The caches of a host: directories that jobs leave for later jobs, below its state root.

    <state root>/caches/<scope>/<name>/<entry>/data     what a job left
                                      /<entry>/entry.json

- An entry is whole or not there: it is made beside, and renamed. Its data never changes after that,
  so that many jobs have it as the lower layer of an overlay, and a newer entry shares its files by
  hard links.
- A job holds the lock of its entry (`slots/cache-<entry>.lock`, shared); one that is locked is not
  removed.
- `scope` keeps apart what must not mix: targets, and files of a host's user and of a guest's.
- Of entries with one key the newest counts, and older ones go. Those of the `KEPT` newest keys
  stay.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.state.atomic import write_json
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import check_id
from jerichoci.state.layout import make_private
from jerichoci.state.lock import try_lock
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MIB = 1024 * 1024
KEPT = 4
"""Keys of one cache: those of a few branches."""
KEPT_OUTPUTS = 16
"""Of what one host command left."""
PREPARES = "+prepares"
"""Ends the scope of what host commands left."""
SHARING = ["-Rpc"] if sys.platform == "darwin" else ["-a", "--reflink=auto"]
"""How `cp` copies a tree, and shares blocks where the file system can."""
UNUSED_SECS = 30 * 24 * 3600.0
"""After which `pikaci gc` removes an entry that no job had."""
OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
COPY_SECS = 1800.0


@dataclass(frozen=True)
class CacheEntry:
    """A published entry: sizes in bytes, times in seconds since the epoch."""

    scope: str
    name: str
    entry: str
    key: str
    bytes: int
    created: float
    used: float
    run_id: str


@dataclass(frozen=True)
class Published:
    """Whether an entry was made, and how large it is, or would have been."""

    is_new: bool
    bytes: int


def caches_of(root: Path) -> Path:
    """Where a state root has its caches."""
    return root / "caches"


def entries(root: Path, scope: str | None = None, name: str | None = None) -> list[CacheEntry]:
    """The entries of a state root, or of one cache; the newest first."""
    pattern = f"{scope or '*'}/{name or '*'}/*/entry.json"
    found = [entry for path in caches_of(root).glob(pattern) if (entry := _read(path))]
    return sorted(found, key=lambda entry: entry.created, reverse=True)


def _read(path: Path) -> CacheEntry | None:
    try:
        values = json.loads(path.read_bytes())
        used = path.parent.stat().st_mtime
        return CacheEntry(
            scope=path.parts[-4],
            name=path.parts[-3],
            entry=path.parts[-2],
            key=str(values["key"]),
            bytes=int(values["bytes"]),
            created=float(values["created"]),
            used=used,
            run_id=str(values["run_id"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find(root: Path, scope: str, name: str, key: str) -> CacheEntry | None:
    """The newest entry of this key, or else the newest of all."""
    found = entries(root, scope, name)
    return next((entry for entry in found if entry.key == key), found[0] if found else None)


def data_of(root: Path, entry: CacheEntry) -> Path:
    """Where the files of an entry are."""
    return caches_of(root) / entry.scope / entry.name / entry.entry / "data"


def touch(root: Path, entry: CacheEntry) -> None:
    """Note that an entry was used now."""
    with suppress(OSError):
        os.utime(data_of(root, entry).parent)


def publish(  # noqa: PLR0913, PLR0917 - what an entry has
    root: Path,
    scope: str,
    name: str,
    key: str,
    lower: str | None,
    upper: Path,
    limit: int,
    run_id: str,
    *,
    in_use: bool = False,
) -> Published:
    """Make an entry of what a job has: its changes `upper` over the data of the entry `lower`.

    Of an `upper` that is in use, what can still be written to is copied.

    Nothing is made of no changes where `lower` has that key, nor of more than `limit` bytes.
    Blocking.
    """
    cache = caches_of(root) / scope / check_id(name, "cache")
    base = next((e for e in entries(root, scope, name) if e.entry == lower), None)
    if base is not None and base.key == key and not any(upper.iterdir()):
        return Published(is_new=False, bytes=base.bytes)

    def fill(data: Path) -> None:
        changes = upper
        if in_use:
            changes = data.with_name("changes")
            _copy(SHARING, upper, changes)
        if base is not None:
            _copy(["-al"], data_of(root, base), data)
            merge(changes, data)
        else:
            changes.rename(data)

    made = _make(cache, key, run_id, fill, limit)
    _prune(root, scope, name, KEPT)
    return made


def _make(
    cache: Path, key: str, run_id: str, fill: Callable[[Path], None], limit: int | None = None
) -> Published:
    """Make an entry whose data `fill` makes; it appears once it is whole."""
    created = time.time()
    token = f"{time.time_ns():x}-{os.urandom(4).hex()}"
    making = cache / f".making-{token}"
    make_private(making)
    try:
        data = making / "data"
        fill(data)
        if (changes := making / "changes").exists():
            remove_tree(changes)
        size = _size(data)
        if limit is not None and size > limit:
            return Published(is_new=False, bytes=size)
        record = {"key": key, "bytes": size, "created": created, "run_id": run_id}
        write_json(making / "entry.json", record)
        making.rename(cache / token)
    finally:
        if making.exists():
            remove_tree(making)
    return Published(is_new=True, bytes=size)


def keep_output(  # noqa: PLR0913, PLR0917 - what an entry has
    root: Path, scope: str, name: str, key: str, out: Path, run_id: str
) -> None:
    """Keep a copy of what a host command left in `out`; blocking."""
    cache = caches_of(root) / scope / check_id(name, "cache")
    _make(cache, key, run_id, lambda data: _copy(SHARING, out, data))
    _prune(root, scope, name, KEPT_OUTPUTS)


def restore_output(root: Path, scope: str, name: str, key: str, out: Path) -> bool:
    """Copy what a host command left into `out`, an empty directory; False if it isn't kept."""
    found = [entry for entry in entries(root, scope, name) if entry.key == key]
    for entry in found[:1]:
        with try_lock(root / "slots" / lock_name(entry.entry), shared=True) as held:
            if held and (data := data_of(root, entry)).is_dir():
                touch(root, entry)
                _copy(SHARING, f"{data}/.", out)
                return True
    return False


def _prune(root: Path, scope: str, name: str, kept: int) -> None:
    """Remove entries that have a newer one of their key, and those beyond so many keys."""
    keys: set[str] = set()
    for entry in entries(root, scope, name):
        if entry.key in keys or len(keys) == kept:
            remove(root, entry)
        keys.add(entry.key)


def _copy(how: Sequence[str], source: Path | str, into: Path) -> None:
    argv = ["cp", *how, "--", str(source), str(into)]
    done = subprocess.run(argv, check=False, timeout=COPY_SECS, capture_output=True)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise InfrastructureError(
            f"could not copy a cache: {said[0] if said else done.returncode}",
            "`pikaci run --no-cache` does without, `pikaci cache clear` removes what is there",
        )


def remove(root: Path, entry: CacheEntry) -> bool:
    """Remove an entry, unless a job has it."""
    with try_lock(root / "slots" / lock_name(entry.entry)) as unused:
        if unused:
            remove_tree(data_of(root, entry).parent)
            (root / "slots" / lock_name(entry.entry)).unlink(missing_ok=True)
        return unused


def lock_name(entry: str) -> str:
    """The lock file of an entry, among the slots."""
    return f"cache-{entry}.lock"


def collect(root: Path, *, dry_run: bool) -> list[CacheEntry]:
    """Remove the entries that no job has had for UNUSED_SECS, and what was left half made."""
    now = time.time()
    if not dry_run:
        for path in caches_of(root).glob("*/*/.making-*"):
            with suppress(OSError):
                if now - path.stat().st_mtime > COPY_SECS:
                    remove_tree(path)
    old = [entry for entry in entries(root) if now - entry.used > UNUSED_SECS]
    return [entry for entry in old if dry_run or remove(root, entry)]


def merge(upper: Path, data: Path) -> None:
    """Move the upper layer of an overlay over a copy of its lower one, whose files are shared."""
    for entry in os.scandir(upper):
        target = data / entry.name
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:  # it was removed
            _remove(target)
        elif entry.is_dir(follow_symlinks=False):
            if _is_opaque(entry.path) or not target.is_dir() or target.is_symlink():
                _remove(target)
                target.mkdir()
            shutil.copystat(entry.path, target, follow_symlinks=False)
            os.chown(target, found.st_uid, found.st_gid)
            merge(upper / entry.name, target)
        else:
            _remove(target)
            (upper / entry.name).rename(target)


def _is_opaque(path: str) -> bool:
    for name in OPAQUE:
        with suppress(OSError):
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _size(data: Path) -> int:
    return sum(size for size in _sizes(str(data)))


def _sizes(directory: str) -> Iterator[int]:
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            yield from _sizes(entry.path)
        else:
            yield entry.stat(follow_symlinks=False).st_blocks * 512

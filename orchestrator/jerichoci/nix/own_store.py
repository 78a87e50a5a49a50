"""Rooting what is valid in a store that is this user's own, without starting Nix.

Nix does the same: it keeps its lock against the collector, looks into its database, and links the
root below `gcroots/auto`. Where anything is not as it is known here (a daemon, another schema, a
collector at work), Nix has to be asked.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.nix.realised import Realised
from jerichoci.state.lock import try_flock
from jerichoci.status import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.nix.realised import BuildRequest, Observer

STATE = Path("/nix/var/nix")
SCHEMA = b"10"
"""Of Nix's database since 2.0, of 2018."""
BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"
_ELSEWHERE = ("NIX_REMOTE", "NIX_STATE_DIR", "NIX_STORE_DIR", "NIX_STORE")


def take_valid(builds: Mapping[str, BuildRequest], gcroots: Path, observer: Observer) -> bool:
    """Root all outputs below `gcroots` and say that they were there; False if Nix has to."""
    there = {gcroots / f"{name}.valid": build.out_path for name, build in builds.items()}
    if not all(map(os.path.lexists, there.values())) or not root_valid(there):
        return False
    for name, build in builds.items():
        root = gcroots / f"{name}.valid"
        observer.finished(name, Realised(Outcome.PASSED, build.out_path, root, cached=True))
    return True


def root_valid(links: Mapping[Path, str]) -> bool:
    """Root store paths by links; False if Nix has to."""
    auto, database = STATE / "gcroots" / "auto", STATE / "db"
    if any(name in os.environ for name in _ELSEWHERE) or not os.access(auto, os.W_OK):
        return False
    try:
        if (database / "schema").read_bytes().strip() != SCHEMA:
            return False
        # The collector has this lock for as long as it works.
        held = os.open(STATE / "gc.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not try_flock(held, shared=True) or not _are_valid(database, set(links.values())):
            return False
        for link, path in links.items():
            _link(link, Path(path))
            _link(auto / _base32(hashlib.sha1(os.fsencode(link)).digest()), link)  # noqa: S324 - Nix's
    except OSError:
        return False
    finally:
        os.close(held)
    return True


def _are_valid(database: Path, paths: set[str]) -> bool:
    import sqlite3
    from contextlib import closing

    asked = sorted(paths)
    marks = ",".join("?" * len(asked))
    try:
        with closing(sqlite3.connect(f"file:{database}/db.sqlite?mode=ro", uri=True)) as opened:
            query = f"SELECT count(*) FROM ValidPaths WHERE path IN ({marks})"  # noqa: S608 - marks
            (found,) = opened.execute(query, asked).fetchone()
    except sqlite3.Error:
        return False
    return bool(found == len(asked))


def _link(link: Path, target: Path) -> None:
    """Link, in place of what may be there."""
    temp = link.with_name(f".tmp-{link.name}-{os.getpid()}")
    temp.symlink_to(target)
    temp.rename(link)


def _base32(digest: bytes) -> str:
    """As Nix spells a digest: 32 digits of 5 bits, of which the last has the lowest bits."""
    number = int.from_bytes(digest, "little")
    count = (len(digest) * 8 + 4) // 5
    return "".join(BASE32[number >> 5 * n & 31] for n in reversed(range(count)))

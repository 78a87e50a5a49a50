"""Where things are: the flake a command means, the tree it lies in, the state root of that tree."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError, UsageError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import StateLayout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.nix.command import NixOptions
    from jerichoci.record.store import RunStore

LANES_FILE = Path("ci/forge-lanes.toml")


@dataclass(frozen=True)
class FlakeOptions:
    """The flake of a command line, the system it asks for, and how Nix evaluates it."""

    directory: str | None
    system: str | None
    state_root: str | None
    nix: NixOptions


@dataclass(frozen=True)
class SourceTree:
    """A directory whose tree a run snapshots, and where in it flake.nix lies."""

    root: Path
    flake_dir: str = ""

    @property
    def lanes_file(self) -> Path:
        """Where the lanes are by convention; the file need not exist."""
        return self.root / self.flake_dir / LANES_FILE


def find_source(flake: str | None) -> SourceTree:
    """The tree of the flake at `flake` (a directory; by default the one around the cwd)."""
    start = Path(flake or ".")
    if flake and "#" in flake:
        raise UsageError(
            f"--flake {flake} names an attribute",
            "give the directory only; the target is an argument of its own",
        )
    if not start.is_dir():
        raise UsageError(
            f"--flake {flake} is not a directory",
            "for a commit of a repository elsewhere use --source git+URL?rev=REV",
        )
    try:
        start = start.resolve()
    except FileNotFoundError:
        raise UsageError(
            "the current directory was removed", "change to another directory"
        ) from None
    places = [start] if flake else [start, *start.parents]
    home = next((place for place in places if (place / "flake.nix").is_file()), None)
    if home is None:
        raise UsageError(
            f"there is no flake.nix in {start}" + ("" if flake else " or above"),
            "change to your repository, give its directory with --flake,"
            " or begin here with `pikaci init`",
        )
    top = _top(home)
    return SourceTree(root=top, flake_dir="" if top == home else str(home.relative_to(top)))


def has_flake(flake: str | None) -> bool:
    """Whether there is a flake at `flake`, by default around the current directory."""
    with suppress(UsageError):
        return bool(find_source(flake))
    return False


def _top(home: Path) -> Path:
    """The top of the work tree around a flake; outside git, the flake's own directory."""
    if (home / ".git" / "HEAD").exists() or not any(
        (place / ".git").exists() for place in (home, *home.parents)
    ):
        return home
    from jerichoci.snapshot.git import find_top

    return find_top(home)


def state_layout(state_root: str | None, identity: str) -> StateLayout:
    """The state root: as given, else under XDG_STATE_HOME by the source's path or URL."""
    if state_root:
        return StateLayout(_named(Path(state_root).absolute()))
    return StateLayout(state_home() / slug(identity))


def state_option(state: StateLayout) -> str:
    """The option a command needs to find these records; empty if it finds them without."""
    with suppress(PikaciError):
        if state == open_state(os.environ.get("PIKACI_STATE_ROOT")):
            return ""
    return f" --state-root {shlex.quote(str(state.root))}"


def state_home() -> Path:
    """The directory of the state roots that are not given."""
    # The XDG specification has relative paths ignored.
    home = os.environ.get("XDG_STATE_HOME", "")
    if home.startswith("/"):
        return _named(Path(home) / "pikaci")
    try:
        return _named(Path("~/.local/state/pikaci").expanduser())
    except RuntimeError:
        raise UsageError(
            "the home directory is unknown", "set HOME, or give --state-root"
        ) from None


def _named(path: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        text = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise UsageError(
            f"the path of the state root {text} is not UTF-8", "give another with --state-root"
        ) from None
    return path


def slug(identity: str) -> str:
    """A directory name for a repository: its base name, and 8 hex digits of where it is."""
    base = re.sub(r"[^A-Za-z0-9_-]", "-", identity.rstrip("/").rpartition("/")[2]) or "root"
    return f"{base}-{hashlib.sha256(os.fsencode(identity)).hexdigest()[:8]}"


def open_state(state_root: str | None, flake: str | None = None) -> StateLayout:
    """The state root that a command means."""
    try:
        identity = "" if state_root else str(find_source(flake).root)
    except UsageError as error:
        hint = f"{error.hint}, or give the directory of the records with --state-root"
        raise UsageError(error.message, hint) from None
    return state_layout(state_root, identity)


@contextmanager
def some_state(state_root: str | None, flake: str | None) -> Iterator[StateLayout]:
    """The state root that a command means; outside a flake, a temporary one."""
    from tempfile import TemporaryDirectory

    try:
        state = open_state(state_root, flake)
    except UsageError:
        if flake or state_root:
            raise
        home = state_home()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="temporary-", dir=home) as made:
            yield StateLayout(Path(made))
    else:
        yield state


def open_store(state_root: str | None, flake: str | None = None) -> RunStore:
    """The runs of the state root that a command means."""
    from jerichoci.record.store import RunStore

    return RunStore(open_state(state_root, flake).root)

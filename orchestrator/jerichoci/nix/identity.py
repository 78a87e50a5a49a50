"""What names the Nix of this machine, and its settings, without starting it."""

from __future__ import annotations

import os
import re
import shutil
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STORE = Path("/nix/store")
_NESTED = 4
"""Scripts that start each other, and files that include each other, at most."""
_NAMED = re.compile(r"/[^\s'\"`;:$&|<>()]+")
_OURS = frozenset({"NIX_CACHE_HOME"})


def nix_identity() -> list[str] | None:
    """What changes if another Nix, or one with other settings, is on PATH; None if that is unknown.

    A program is known by its place in the store, or by its size and time. A script is known by its
    text and by the programs and directories of settings that it names: one that names no program
    may start any.
    """
    program = shutil.which("nix")
    known = _program(Path(program), _NESTED) if program else None
    if known is None:
        return None
    variables = (f"{name}={value}" for name, value in sorted(os.environ.items()) if _is_nix(name))
    return [*known, *variables, *chain.from_iterable(_settings(path, 0) for path in _files())]


def _is_nix(name: str) -> bool:
    return name.startswith("NIX_") and name not in _OURS


def _program(path: Path, depth: int) -> list[str] | None:
    try:
        real = path.resolve(strict=True)
        if real.is_relative_to(_STORE):
            return [str(real)]
        with real.open("rb") as file:
            is_script = file.read(2) == b"#!"
            text = file.read().decode("utf-8", "replace") if is_script else ""
        status = real.stat()
    except OSError:
        return None
    if not is_script:
        return [f"{real} {status.st_ino} {status.st_size} {status.st_mtime_ns}"]
    _, _, body = text.partition("\n")
    named = [Path(word) for word in dict.fromkeys(_NAMED.findall(body))] if depth else []
    programs = [_program(file, depth - 1) for file in named if _is_program(file)]
    if not programs or None in programs:
        return None
    settings = [_settings(place / "nix.conf", 0) for place in named if place.is_dir()]
    return [text, *chain.from_iterable(program or () for program in programs), *chain(*settings)]


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _files() -> Iterator[Path]:
    """The files that Nix's manual names."""
    home = Path(os.environ.get("HOME", "/"))
    yield Path(os.environ.get("NIX_CONF_DIR", "/etc/nix")) / "nix.conf"
    if files := os.environ.get("NIX_USER_CONF_FILES"):
        yield from map(Path, files.split(":"))
    else:
        places = [os.environ.get("XDG_CONFIG_HOME") or str(home / ".config")]
        places += (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
        yield from (Path(place) / "nix" / "nix.conf" for place in places)
    data = os.environ.get("NIX_DATA_HOME")
    share = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
    yield (Path(data) if data else Path(share) / "nix") / "trusted-settings.json"


def _settings(file: Path, depth: int) -> Iterator[str]:
    """A file of settings, and those that it includes."""
    try:
        text = file.read_text("utf-8", "replace")
    except OSError:
        return
    yield f"{file} {text}"
    for line in text.splitlines():
        match line.partition("#")[0].split():
            case ["include" | "!include", name] if depth < _NESTED:
                yield from _settings(file.parent / name, depth + 1)

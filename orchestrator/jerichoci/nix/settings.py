"""Nix's settings on this machine: whether they limit concurrent builds, and other limits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.machine import process
from jerichoci.nix import command as nix
from jerichoci.nix.builds import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.nix.command import NixOptions

_MAX_JOBS = frozenset({"max-jobs", "build-max-jobs"})
_INCLUDES = 16
"""Files that include each other, at most."""


async def sets_max_jobs(options: NixOptions) -> bool:
    """Whether max-jobs is set anywhere: Nix itself shows 1 for both."""
    names = {name for name, _ in options.settings}
    names.update(_names(os.environ.get("NIX_CONFIG", ""), Path(), 0))
    if not names & _MAX_JOBS:
        done = await process.run(nix.FILES_ARGV, deadline_secs=nix.QUERY_DEADLINE_SECS)
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            what, _, files = line.partition(": ")
            if what.endswith(("configuration file", "configuration files")):
                for file in files.replace('"', "").split(":"):
                    names.update(_names_in(Path(file), 0))
    return bool(names & _MAX_JOBS)


def _names(text: str, directory: Path, depth: int) -> Iterator[str]:
    """The settings that a nix.conf sets."""
    for line in text.splitlines():
        match line.partition("#")[0].split():
            case ["include" | "!include", file] if depth < _INCLUDES:
                yield from _names_in(directory / file, depth + 1)
            case [name, "=", *_]:
                yield name


def _names_in(file: Path, depth: int) -> Iterator[str]:
    try:
        text = file.read_text("utf-8", "replace")
    except OSError:
        return
    yield from _names(text, file.parent, depth)


async def shown(options: NixOptions) -> dict[str, Any]:
    """Nix's settings as they are for `nix build` with these options, each with its `value`."""
    for argv in options.show_config_argvs():
        done = await process.run(argv, deadline_secs=nix.QUERY_DEADLINE_SECS)
        if done.ok:
            return done.values()
    return {}


async def limits(options: NixOptions) -> dict[str, int]:
    """Those of Nix's settings that end a build."""
    settings = await shown(options)
    return {name: int(settings[name]["value"]) for name in LIMITS if name in settings}

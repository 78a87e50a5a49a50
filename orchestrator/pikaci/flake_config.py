"""What a flake at a snapshot sets of Nix (`nixConfig`), and its files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from jerichoci.machine import process
from jerichoci.nix import command as nix
from jerichoci.snapshot.repository import open_repository

if TYPE_CHECKING:
    from jerichoci.nix.command import NixOptions

HARMLESS = frozenset({"bash-prompt", "bash-prompt-prefix", "bash-prompt-suffix", "flake-registry"})
"""Settings of a flake that Nix accepts from every one, and no build needs."""


async def with_flake_config(state_root: Path, reference: str, options: NixOptions) -> NixOptions:
    """The options, and after them what the flake at a snapshot sets (`nixConfig`) and may set.

    Evaluation has these settings from Nix; a build of a derivation knows of no flake.
    """
    content = await file_at(state_root, reference, "flake.nix") or b""
    if b"nixConfig" not in content:
        return options
    done = await process.run(
        nix.NIX_CONFIG_ARGV, deadline_secs=nix.QUERY_DEADLINE_SECS, stdin=content
    )
    asked_for = done.values() if done.ok else {}
    wanted = {name: _text(value) for name, value in asked_for.items() if name not in HARMLESS}
    from jerichoci.nix import settings as nix_settings

    shown = await nix_settings.shown(options)
    if not shown.get("accept-flake-config", {}).get("value"):
        trusted = _trusted()
        wanted = {n: text for n, text in wanted.items() if trusted.get(n, {}).get(text) is True}
    return replace(options, settings=(*options.settings, *wanted.items()))


async def file_at(state_root: Path, reference: str, name: str) -> bytes | None:
    """A file beside the flake.nix of a flake at a snapshot; None if there is none."""
    asked = parse_qs(urlsplit(reference).query)
    ref, name = asked["ref"][0], "/".join([*asked.get("dir", []), name])
    repository = await open_repository(state_root)
    tree = repository.snapshots / ref.rpartition("/")[2]
    if tree.is_dir():  # since a run of the same tree
        file = tree / name
        return file.read_bytes() if file.is_file() else None
    done = await repository.git.run("cat-file", "blob", f"{ref}:{name}")
    return done.stdout if done.ok else None


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    """A setting as Nix writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(value) if isinstance(value, list) else str(value)


def _trusted() -> dict[str, dict[str, bool]]:
    """The settings that the user accepted for good, by name and text."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    directory = Path(os.environ.get("NIX_DATA_HOME") or Path(home) / "nix")
    try:
        texts = json.loads((directory / "trusted-settings.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in dict(texts).items() if isinstance(value, dict)}

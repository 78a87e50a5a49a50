"""The settings that a flake asks for (`nixConfig`), as far as the user accepts them.

Evaluation has them from Nix; a build of a derivation knows of no flake, so it is given them.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from jerichoci.machine import process
from jerichoci.nix import command as nix
from jerichoci.nix import settings as nix_settings
from jerichoci.snapshot.repository import open_repository

if TYPE_CHECKING:
    from jerichoci.nix.command import NixOptions

HARMLESS = frozenset({"bash-prompt", "bash-prompt-prefix", "bash-prompt-suffix", "flake-registry"})
"""What Nix accepts from every flake, and no build needs."""


async def with_flake_config(state_root: Path, reference: str, options: NixOptions) -> NixOptions:
    """The options, and after them what the flake at a snapshot sets, as Nix has it for a flake."""
    asked = parse_qs(urlsplit(reference).query)
    flake = f"{asked['ref'][0]}:{'/'.join([*asked.get('dir', []), 'flake.nix'])}"
    file = await (await open_repository(state_root)).git.run("cat-file", "blob", flake)
    if b"nixConfig" not in file.stdout:
        return options
    done = await process.run(
        nix.NIX_CONFIG_ARGV, deadline_secs=nix.QUERY_DEADLINE_SECS, stdin=file.stdout
    )
    asked_for: dict[str, Any] = json.loads(done.stdout) if done.ok else {}
    wanted = {name: _text(value) for name, value in asked_for.items() if name not in HARMLESS}
    shown = await nix_settings.shown(options)
    if not shown.get("accept-flake-config", {}).get("value"):
        trusted = _trusted()
        wanted = {n: text for n, text in wanted.items() if trusted.get(n, {}).get(text) is True}
    return replace(options, settings=(*options.settings, *wanted.items()))


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    """A setting as Nix writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(value) if isinstance(value, list) else str(value)


def _trusted() -> dict[str, dict[str, bool]]:
    """What the user has told Nix to accept for good, by name and text."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    directory = Path(os.environ.get("NIX_DATA_HOME") or Path(home) / "nix")
    try:
        texts = json.loads((directory / "trusted-settings.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in dict(texts).items() if isinstance(value, dict)}

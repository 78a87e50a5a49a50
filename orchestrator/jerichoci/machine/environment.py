"""What a host's environment gives to a job: the few things a host process can't do without."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PASSED_NAMES = frozenset(
    {
        *("PATH", "HOME", "LANG", "LANGUAGE", "TMPDIR", "TART_HOME"),
        *("NIX_CONFIG", "NIX_CONF_DIR", "NIX_USER_CONF_FILES", "NIX_PATH", "NIX_REMOTE"),
        *("NIX_STORE_DIR", "NIX_STATE_DIR", "NIX_LOG_DIR", "NIX_DATA_DIR", "NIX_CACHE_HOME"),
        *("NIX_SSL_CERT_FILE", "NIX_SSHOPTS", "NIX_PROFILES"),
    }
)
"""Of those that begin with NIX_ only Nix's own: a dev shell sets many for compilers."""
PASSED_FAMILIES = ("LC_",)
WELL_KNOWN = (
    "/run/wrappers/bin",
    "~/.nix-profile/bin",
    "~/.local/state/nix/profile/bin",
    "/etc/profiles/per-user/{user}/bin",
    "/nix/var/nix/profiles/default/bin",
    "/run/current-system/sw/bin",
    "/opt/homebrew/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
)
"""Where programs are that a login shell would find."""


def host_environment(source: Mapping[str, str] | None = None) -> dict[str, str]:
    """What passes from the orchestrator's environment to a host process."""
    values = os.environ if source is None else source
    return {
        name: value
        for name, value in values.items()
        if name in PASSED_NAMES or name.startswith(PASSED_FAMILIES)
    }


def well_known(first: Sequence[str], rest: Sequence[str] = ()) -> list[str]:
    """The directories that are there of `first`, `rest` and those that everybody has, in order."""
    return [path for path in _named(first, rest) if os.path.isdir(path)]  # noqa: PTH112 - strings for PATH


def _named(first: Sequence[str], rest: Sequence[str]) -> list[str]:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    named = [*first, *rest, *(path.format(user=user) for path in WELL_KNOWN)]
    return list(dict.fromkeys(os.path.expanduser(path) for path in named if path))  # noqa: PTH111 - likewise


def job_path(first: Sequence[str]) -> str:
    """The PATH of a job: the same on every machine, but for the user's name and home."""
    return os.pathsep.join(_named(first, ()))

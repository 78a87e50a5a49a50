"""Whose fault it is that Nix did not make an output, and in which words.

The kind follows from what Nix counted, from the store and from Nix's limits. Nix's own error is
the reason that is shown.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from jerichoci.nix import command as nix
from jerichoci.nix import settings as nix_settings
from jerichoci.nix.builds import LIMITS, Build
from jerichoci.nix.realised import Realised, failed
from jerichoci.status import CauseCode, FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.nix.command import NixOptions
    from jerichoci.nix.log import Message

FULL_DISK_BYTES = 2**20
"""With less than this left under the store, a failed build is the disk's fault."""

_ERROR = re.compile(r"\s*error: (.+)")
_NOT_STARTED = re.compile(r"executing '.+': ")


async def of_broken(
    node_id: str, drv_path: str | None, build: Build, options: NixOptions
) -> Realised:
    """The failure of a node by a build that failed."""
    if _disk_is_full(build.drv):
        return unavailable(node_id, "the disk under the Nix store is full")
    if gone := await _gone_inputs(build.drv):
        return lost(node_id, gone[0])
    dependency = "" if build.drv == drv_path else f" ({PurePath(build.drv).name} failed)"
    if limit := await limit_of(build, options):
        which, hint = limit
        message = f"prepare {node_id} was ended by {which}{dependency}"
        return failed(FailureKind.TIMEOUT, CauseCode.BUILD_TIMED_OUT, message, hint)
    first = build.errors[0] if build.errors else None
    why = f": {first.sentence}{await said_by_nix(build)}" if first else ""
    if first and PurePath(build.drv).name in first.named:
        dependency = ""
    hint = "the builder's output is in the host log"
    got_hash = first.got_hash if first else None
    if got_hash:
        hint = f"if the new content is right, change the hash to {got_hash}"
    message = f"prepare {node_id} does not build{dependency}{why}"
    kind = FailureKind.TEST_FAILURE
    return failed(kind, CauseCode.BUILD_FAILED, message, hint, got_hash)


async def said_by_nix(build: Build) -> str:
    """What Nix itself said in the builder's output, to follow the error of a build.

    It speaks there where it is the builder, and where there is none that it could start.
    """
    said = [found[1] for line in build.tail if (found := _ERROR.match(line))]
    is_alone = len(build.tail) == 1 and any(_NOT_STARTED.match(line) for line in said)
    if said and (is_alone or await nix.is_built_by_nix(build.drv)):
        return f": {said[-1]}"
    return ""


async def limit_of(build: Build, options: NixOptions) -> tuple[str, str] | None:
    """Which of Nix's limits ended a build, if one did, and what to do."""
    limits = await nix_settings.limits(options)
    exceeded = build.exceeded(limits)
    if exceeded is None:
        return None
    limit, value = exceeded
    where = "nix.conf and NIX_CONFIG have it too"
    if limits.get(limit) != value:
        where = "it is from the nix.conf of the Nix that builds: the daemon's, or a builder's"
    hint = f"`--option {limit} N` sets another one, 0 none; {where}"
    return f"Nix's limit `{limit}` of {value} {LIMITS[limit]}", hint


def lost(node_id: str, path: str, errors: Sequence[Message] = ()) -> Realised:
    """The failure of a path that Nix calls valid and that is not on the disk."""
    why = f": {errors[0].sentence}" if errors else ""
    return unavailable(
        node_id,
        f"Nix calls {path} valid, but it is not on the disk{why}",
        f"`nix-store --repair-path {path}` makes it again, or fetches it",
    )


def of_ended(exit_code: int, errors: Sequence[Message], *, is_cut: bool) -> str:
    """Why Nix made none of the outputs.

    A killed Nix ends in the middle. Debian 12's unshare, around it, ends with 1 and a message then.
    """
    # Nix ends in the middle, too, where it loses its daemon, and says so.
    says_why = any(each.raw != each.text and not each.named for each in errors)
    if exit_code < 0 or (is_cut and not says_why):
        name = signal.Signals(-exit_code if exit_code < 0 else signal.SIGKILL).name
        return f"Nix was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return errors[0].sentence if errors else f"Nix ended with {exit_code} and gave no reason"


def unavailable(node_id: str, why: str, hint: str | None = None) -> Realised:
    """A node that the machine could not make."""
    return failed(
        FailureKind.INFRASTRUCTURE,
        CauseCode.PREPARE_UNAVAILABLE,
        f"prepare {node_id} could not be realised: {why}",
        hint
        or nix.advice(why)
        or "see the host log; `nix store info` shows whether the store can be reached",
    )


async def _gone_inputs(drv: str) -> list[str]:
    """What a derivation is built from, is valid, and isn't on the disk."""
    named = await nix.references(drv)
    drvs = [path for path in named if path.endswith(".drv")]
    made = await nix.outputs(*drvs) if drvs else []
    missing = [path for path in (*named, *made) if not os.path.lexists(path)]
    invalid = await nix.invalid(missing) if missing else frozenset()
    return [path for path in missing if path not in invalid]


def _disk_is_full(store_path: str) -> bool:
    usage = os.statvfs(Path(store_path).parent)
    return usage.f_bavail * usage.f_frsize < FULL_DISK_BYTES or usage.f_favail == 0

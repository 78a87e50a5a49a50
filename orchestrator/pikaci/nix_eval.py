"""Running `nix eval`, and whose fault it is when that fails."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import CatalogError, InfrastructureError, PikaciError, TimedOutError
from jerichoci.machine import process
from jerichoci.nix import command as nix
from jerichoci.nix import verdict as nix_verdict
from jerichoci.nix.log import ERROR_LEVEL, Message
from jerichoci.state.dataclass import dataclass
from jerichoci.state.lock import lock
from pikaci.evaluation_log import EvaluationLog, name_of, needs_built, show
from pikaci.flake_config import with_flake_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.nix.command import NixOptions
    from jerichoci.state.layout import StateLayout
    from pikaci.flake_files import FlakeFiles

STORE = Path("/nix/store")
EVAL_DEADLINE_SECS = 1800.0
"""Nix may have to fetch inputs first."""
EVAL_ROOM_BYTES = 256 * 1024
"""What Nix's caches need at least."""
MARK = "pikaci: "
"""Begins every sentence that nix/lib throws."""
INTERRUPTED = "interrupted by the user"
"""Nix's whole error after SIGINT, SIGTERM or SIGHUP."""
LOST = re.compile(r"object not found|Cannot find Git revision|program 'git' ")
"""In Nix's errors of a git repository that it can't read."""
_UNFETCHED = re.compile(
    r"while updating the flake input '(?P<name>[^']+)'"
    r".*while fetching the input '(?P<url>[^']+)'",
    re.DOTALL,
)
_IN_SOURCE = re.compile(r"^.*?/nix/store/[a-z0-9]{32}-source/|^«[^»]*»/?")
_STORE_NAME = re.compile(r"(?<![a-z0-9])[a-z0-9]{32}-[A-Za-z0-9+._?=-]+")
"""What is in the store; Nix 2.34 does not always name the directory before it."""
_ADDED_INPUT = re.compile(r"Added input '([^']+)'")


@dataclass(frozen=True)
class Asked:
    """What Nix answered, as JSON values; whether it said nothing else; the inputs it locked."""

    found: dict[str, Any]
    is_silent: bool
    added: frozenset[str]


@dataclass(frozen=True)
class NixEval:
    """A flake at a snapshot, to be evaluated."""

    state: StateLayout
    reference: str
    options: NixOptions
    read_only: bool
    files: FlakeFiles | None

    async def ask(self, argv: Sequence[str]) -> Asked:
        """Run a `nix eval`.

        Raises:
            PikaciError: it failed.
        """
        caches = {
            "NIX_CACHE_HOME": str(self.state.nix_cache),
            "XDG_CACHE_HOME": str(self.state.nix_cache),
        }
        heard = EvaluationLog(may_build=not self.read_only, print_logs=self.options.print_logs)
        try:
            async with lock(self.state.nix_cache_lock, EVAL_DEADLINE_SECS, shared=True):
                done = await process.run(
                    argv,
                    deadline_secs=EVAL_DEADLINE_SECS,
                    env={**os.environ, **caches},
                    listen=heard.take,
                )
        except InfrastructureError:
            await nix.version()
            raise
        if not done.ok:
            raise await self._failure(done, heard)
        warnings = [await self._warning(warning) for warning in heard.warnings]
        for warning in warnings:
            show(warning)
        added = (name for text in heard.warnings for name in _ADDED_INPUT.findall(text))
        return Asked(done.values(), not heard.has_shown and not any(warnings), frozenset(added))

    async def _failure(self, done: process.Completed, heard: EvaluationLog) -> Exception:
        nix.check_version(await nix.version())
        if self.options.show_trace:
            show("\n".join(error.text for error in heard.errors))
        error = heard.errors[-1] if heard.errors else None
        raw = error.raw if error else done.reason()
        missing = await self.files.missing(raw) if self.files else None
        if MARK in raw:
            return missing or CatalogError(raw.partition(MARK)[2].strip())
        return (
            await self._broken(done, raw)
            or missing
            or (await _unbuilt(raw) if self.read_only else None)
            or await self._does_not_evaluate(raw, done, heard)
        )

    async def _does_not_evaluate(
        self, raw: str, done: process.Completed, heard: EvaluationLog
    ) -> PikaciError:
        """The error of a flake that does not evaluate, after the last words of a builder."""
        if "does not provide attribute" in raw:
            hint = "define it with pikaci's `lib.mkCatalog`"
            return CatalogError("the flake has no output `pikaci`", hint)
        why = heard.reason.sentence if heard.reason else _one_line(raw)
        if build := await heard.broken():
            why += await nix_verdict.said_by_nix(build)
            heard.show_end(build)
            options = await with_flake_config(self.state.root, self.reference, self.options)
            if limit := await nix_verdict.limit_of(build, options):
                which, hint = limit
                text = f"{name_of(build.drv)}, which the evaluation needs, was ended by {which}"
                return TimedOutError(text, hint)
        error = heard.errors[-1] if heard.errors else None
        if error and (unfetched := _UNFETCHED.search(error.text)):
            if any(line and not line.startswith(b"@nix ") for line in done.stderr.splitlines()):
                why = f"{why}: {done.reason()}"
            name, url = unfetched["name"], unfetched["url"]
            return CatalogError(
                f"could not fetch the flake's input {name} from {url}: {why}",
                f"is that where it is? --override-input {name} URL takes another",
            )
        if advice := nix.advice(why):
            return InfrastructureError(f"the evaluation needs what Nix can't build: {why}", advice)
        place = _IN_SOURCE.sub("", error.place) if error else ""
        where = f" at {place}" if place and not place.startswith("/") else ""
        return CatalogError(f"the flake does not evaluate{where}: {why}", "--show-trace shows more")

    async def _broken(self, done: process.Completed, raw: str) -> InfrastructureError | None:
        """Why Nix can't work at all, if that is so."""
        if done.was_killed:
            return InfrastructureError(f"the evaluation did not end: {done.reason()}")
        if raw == INTERRUPTED:
            return InfrastructureError("the evaluation did not end: `nix eval` got a signal")
        repository = self.reference.partition("?")[0].removeprefix("git+")
        if LOST.search(raw) and repository in raw:
            # Seen where a process below the evaluation was killed; the flake is not at fault.
            return InfrastructureError(f"Nix could not read the snapshot: {_one_line(raw)}")
        store = await nix.ask_store()
        if store.reason:
            hint = store.advice or "see what `nix store info` prints"
            return InfrastructureError(f"Nix can't work: {store.reason}", hint)
        if full := _full(self.state.root, STORE):
            return InfrastructureError(
                f"the disk of {full} is full: {_one_line(raw)}", "make room there"
            )
        return None

    async def _warning(self, text: str) -> str:
        """What Nix warns of; of an incomplete lock file only what there is to do about it."""
        if "not writing modified lock file" not in text:
            # Nix's own commands have a flag for what is a setting here.
            return text.replace("--accept-flake-config", "--option accept-flake-config true")
        names = [name for name in _ADDED_INPUT.findall(text) if "/" not in name]
        if not names:
            # An input was overridden, as asked.
            return ""
        how = await self.files.how_to_lock() if self.files else "to pin it: `nix flake lock`"
        return f"pikaci: flake.lock does not pin {', '.join(names)} yet; {how}"


def _full(*directories: Path) -> Path | None:
    """The first of the directories that has no room for what an evaluation writes."""
    for directory in directories:
        with suppress(OSError):
            disk = os.statvfs(directory)
            if disk.f_blocks and disk.f_bavail * disk.f_frsize < EVAL_ROOM_BYTES:
                return directory
    return None


async def _unbuilt(raw: str) -> CatalogError | None:
    """The error of an evaluation that needs what isn't in the store, by Nix's error."""
    for path in (f"{STORE}/{name}" for name in _STORE_NAME.findall(raw)):
        if await nix.invalid([path]):
            return needs_built(path, f": {_one_line(raw)}")
    return None


def _one_line(raw: str) -> str:
    return Message(ERROR_LEVEL, raw, raw).sentence

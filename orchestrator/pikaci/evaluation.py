"""Asking Nix for the catalog or a plan, at a snapshot, in one `nix eval`."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from jerichoci.errors import (
    CatalogError,
    InfrastructureError,
    PikaciError,
    TimedOutError,
    UsageError,
)
from jerichoci.machine import process
from jerichoci.machine.system import own_system
from jerichoci.nix import command as nix
from jerichoci.nix import settings as nix_settings
from jerichoci.nix import verdict as nix_verdict
from jerichoci.nix.log import ERROR_LEVEL, Message
from jerichoci.snapshot.repository import open_repository
from jerichoci.state.answers import Answers
from jerichoci.state.dataclass import dataclass
from jerichoci.state.lock import lock
from jerichoci.state.natural import natural
from jerichoci.state.trace import span
from pikaci.evaluation_cache import EvaluationCache, inputs_are_fixed
from pikaci.evaluation_log import EvaluationLog, name_of, needs_built, show
from pikaci.nearest import did_you_mean

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
SYSTEM_PATTERN = re.compile(r"[a-z0-9_]+-[a-z0-9_]+")
HARMLESS = frozenset({"bash-prompt", "bash-prompt-prefix", "bash-prompt-suffix", "flake-registry"})
"""Settings of a flake that Nix accepts from every one, and no build needs."""
MARK = "pikaci: "
"""Begins every sentence that nix/lib throws."""

INTERRUPTED = "interrupted by the user"
"""Nix's whole error after SIGINT, SIGTERM or SIGHUP."""
LOST = re.compile(r"object not found|Cannot find Git revision|program 'git' ")
"""In Nix's errors of a git repository that it can't read."""

_TARGETS_HINT = "`pikaci targets` lists them"
_UNFETCHED = re.compile(
    r"while updating the flake input '(?P<name>[^']+)'"
    r".*while fetching the input '(?P<url>[^']+)'",
    re.DOTALL,
)
_IN_SOURCE = re.compile(r"^.*?/nix/store/[a-z0-9]{32}-source/|^«[^»]*»/?")
_STORE_NAME = re.compile(r"(?<![a-z0-9])[a-z0-9]{32}-[A-Za-z0-9+._?=-]+")
"""What is in the store; Nix 2.34 does not always name the directory before it."""
_ADDED_INPUT = re.compile(r"Added input '([^']+)'")

_FUNCTION = """
pikaci: let
  name = "%s"; asked = "%s"; own = "%s";
  systems = builtins.attrNames pikaci;
"""
"""Begins each of the functions below."""

_PURELY = "pikaci: { pure = !(builtins ? currentSystem); answer = (%s) pikaci; }"
"""A function around those below: whether Nix evaluates purely, and what it answers."""

_NAMED = """
  having = builtins.filter (s: outputs s ? ${name}) systems;
  chosen = if asked != "" then asked
    else if builtins.length fitting == 1 then builtins.head fitting else own;
  found = builtins.elem chosen having;
in {
  nix = builtins.nixVersion; inherit having chosen;
  value = if found then value else null;
  names = if found then [ ] else builtins.concatMap (s: builtins.attrNames (outputs s)) systems;
}
"""
"""Ends the functions that find something by its name."""

_PLAN = """
  outputs = s: pikaci.${s}.plans;
  fitting = having;
  value = pikaci.${chosen}.plans.${name};
"""

_WHOSE = """
  whose = if asked != "" then asked
    else if builtins.elem own systems || systems == [ ] then own else builtins.head systems;
"""
"""The system whose catalog is meant."""

_PLANS = (
    """
  one = name: let
@PLAN@@NAMED@;
  # A plan that throws is null here, and evaluated alone for its message.
  kept = name: let tried = builtins.tryEval (builtins.deepSeq (one name) (one name));
    in if tried.success then tried.value else null;
@WHOSE@
  targets = %s;
in {
  nix = builtins.nixVersion; inherit targets;
  value = map kept targets;
}
""".replace("@PLAN@", _PLAN)
    .replace("@NAMED@", _NAMED)
    .replace("@WHOSE@", _WHOSE)
)
"""A function that evaluates the plans of several targets."""

_ALL = "builtins.attrNames (pikaci.${whose}.plans or { })"
"""Every target of the catalog, in place of a list."""

_IMAGE = """
  outputs = s: pikaci.${s}.images or { };
  fitting = builtins.filter (s: builtins.match ".*-linux" s != null) having;
  row = builtins.head (builtins.filter (row: row.role == name) pikaci.${chosen}.catalog.images);
  value = if %s && row.buildable then row // pikaci.${chosen}.images.${name} else row;
"""

_CATALOG = (
    _WHOSE
    + """
in {
  nix = builtins.nixVersion; inherit systems; chosen = whose;
  value = if builtins.elem whose systems then pikaci.${whose}.catalog else null;
}
"""
)

_HOSTS = """
in {
  nix = builtins.nixVersion;
  value = builtins.foldl' (all: s: all // (pikaci.${s}.hosts or { })) { } systems;
}
"""


@dataclass(frozen=True)
class Evaluated:
    """What Nix answered: JSON values, the system chosen, Nix's version."""

    values: dict[str, Any]
    system: str
    nix_version: str


@dataclass(frozen=True)
class Evaluator:
    """A flake at a snapshot (`reference`), and Nix's caches in a state root."""

    state: StateLayout
    reference: str
    options: NixOptions
    system: str | None = None
    read_only: bool = False
    files: FlakeFiles | None = None
    """The flake on disk, if it is there."""

    async def plan(self, target: str) -> Evaluated:
        """The plan of `target`, without what a run stamps on it."""
        return await self._named("target", target, _PLAN, _TARGETS_HINT)

    async def plans(self, targets: Sequence[str] | None) -> dict[str, Evaluated | PikaciError]:
        """The plans of `targets`, or of all, in one evaluation; of a target that has none, why.

        Raises:
            PikaciError: no plan can be had: the flake, its catalog or Nix is broken.
        """
        listed = " ".join(f'"{name}"' for name in targets or ())
        try:
            found = await self._eval(_PLANS % (_ALL if targets is None else f"[ {listed} ]"))
            names, answers = found["targets"], found["value"]
        except PikaciError:
            names, answers = targets or (), [None] * len(targets or ())
        if None in answers or not names:
            catalog = await self.catalog()
            if targets is None and not names:
                names = [row["id"] for row in catalog.values["targets"]]
                answers = [None] * len(names)
        rows = list(zip(names, answers, strict=True))
        if targets is None:
            rows.sort(key=lambda row: natural(row[0]))
        return {
            name: await self._alone(name) if answer is None else _target(name, answer)
            for name, answer in rows
        }

    async def _alone(self, target: str) -> Evaluated | PikaciError:
        try:
            return await self.plan(target)
        except PikaciError as error:
            return error

    async def image(self, role: str, *, built: bool) -> Evaluated:
        """A role's image; with the derivation that it is built by, if that is asked for."""
        hint = "`pikaci image list` lists them; `images` in the catalog defines them"
        return await self._named("image", role, _IMAGE % ("true" if built else "false"), hint)

    async def _named(self, what: str, name: str, text: str, hint: str) -> Evaluated:
        """A target or an image, for the chosen system."""
        with span(f"evaluate {what} {name}"):
            found = _chosen(what, name, await self._eval(text + _NAMED, name), hint)
        if isinstance(found, UsageError):
            raise found
        return found

    async def catalog(self) -> Evaluated:
        """The catalog of the chosen system."""
        answer = await self._eval(_CATALOG)
        if answer["value"] is None:
            has = ", ".join(answer["systems"]) or "no system"
            text = f"the catalog has nothing for {answer['chosen']}: it has {has}"
            raise UsageError(text, "say --system")
        return Evaluated(answer["value"], answer["chosen"], answer["nix"])

    async def hosts(self) -> dict[str, Any]:
        """The remote hosts that the flake describes, by name."""
        found: dict[str, Any] = (await self._eval(_HOSTS))["value"]
        return found

    async def _eval(self, text: str, name: str = "") -> dict[str, Any]:
        if self.system and not SYSTEM_PATTERN.fullmatch(self.system):
            raise UsageError(f"{self.system!r} is not a system", "one looks like x86_64-linux")
        function = _FUNCTION % (name, self.system or "", own_system()) + text
        argv = self.options.eval_argv(
            f"{self.reference}#.pikaci", _PURELY % function, read_only=self.read_only
        )
        cache = EvaluationCache(Answers(self.state.answers))
        key = cache.key(argv)
        known = cache.find(key, has_derivations=not self.read_only) if key else None
        if known is not None:
            return known
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
        found = done.values()
        answer: dict[str, Any] = found["answer"]
        nix.check_version(answer["nix"])
        is_silent = not heard.has_shown and not any(warnings)
        if key and found["pure"] and is_silent and await self._is_fixed(heard.warnings):
            cache.keep(key, answer)
        return answer

    async def _is_fixed(self, warnings: Sequence[str]) -> bool:
        """Whether each input of the flake has the same content for ever."""
        overrides = self.options.override_inputs
        added = {name for text in warnings for name in _ADDED_INPUT.findall(text)}
        if not added <= {name for name, _ in overrides}:
            return False
        lock = await _file_at(self.state.root, self.reference, "flake.lock")
        return inputs_are_fixed(lock, overrides)

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


def _target(name: str, answer: dict[str, Any]) -> Evaluated | UsageError:
    return _chosen("target", name, answer, _TARGETS_HINT)


def _chosen(what: str, name: str, answer: dict[str, Any], hint: str) -> Evaluated | UsageError:
    """What was found by its name, or why it was not."""
    if answer["value"] is not None:
        return Evaluated(answer["value"], answer["chosen"], answer["nix"])
    if answer["having"]:
        is_for = ", ".join(answer["having"])
        text = f"{what} {name} is not for {answer['chosen']}: it is for {is_for}"
        return UsageError(text, "say --system")
    guess = did_you_mean(name, sorted(set(answer["names"])))
    return UsageError(f"there is no {what} {name!r}", guess or hint)


async def with_flake_config(state_root: Path, reference: str, options: NixOptions) -> NixOptions:
    """The options, and after them what the flake at a snapshot sets (`nixConfig`) and may set.

    Evaluation has these settings from Nix; a build of a derivation knows of no flake.
    """
    content = await _file_at(state_root, reference, "flake.nix") or b""
    if b"nixConfig" not in content:
        return options
    done = await process.run(
        nix.NIX_CONFIG_ARGV, deadline_secs=nix.QUERY_DEADLINE_SECS, stdin=content
    )
    asked_for = done.values() if done.ok else {}
    wanted = {name: _text(value) for name, value in asked_for.items() if name not in HARMLESS}
    shown = await nix_settings.shown(options)
    if not shown.get("accept-flake-config", {}).get("value"):
        trusted = _trusted()
        wanted = {n: text for n, text in wanted.items() if trusted.get(n, {}).get(text) is True}
    return replace(options, settings=(*options.settings, *wanted.items()))


async def _file_at(state_root: Path, reference: str, name: str) -> bytes | None:
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

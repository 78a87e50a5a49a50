"""Asking Nix for the catalog or a plan, at a snapshot, in one `nix eval`."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jerichoci import nix, process
from jerichoci.errors import CatalogError, InfrastructureError, UsageError
from jerichoci.lock import lock
from jerichoci.nixlog import ERROR_LEVEL, WARNING_LEVEL, Message, parse_line
from jerichoci.system import own_system

if TYPE_CHECKING:
    from jerichoci.layout import StateLayout
    from jerichoci.nix import NixOptions

EVAL_DEADLINE_SECS = 1800.0
"""Nix may have to fetch inputs first."""
SYSTEM_PATTERN = re.compile(r"[a-z0-9_]+-[a-z0-9_]+")
MARK = "pikaci: "
"""Begins every sentence that nix/lib throws."""

_UNFETCHED = re.compile(
    r"while updating the flake input '(?P<name>[^']+)'"
    r".*while fetching the input '(?P<url>[^']+)'",
    re.DOTALL,
)
_IN_SOURCE = re.compile(r"^.*?/nix/store/[a-z0-9]{32}-source/|^«[^»]*»/?")
_ADDED_INPUT = re.compile(r"Added input '([^']+)'")

_PLAN = """
pikaci: let
  target = "%(target)s"; asked = "%(asked)s"; own = "%(own)s";
  systems = builtins.attrNames pikaci;
  having = builtins.filter (s: pikaci.${s}.plans ? ${target}) systems;
  chosen = if asked != "" then asked
    else if builtins.length having == 1 then builtins.head having else own;
  found = builtins.elem chosen having;
in {
  nix = builtins.nixVersion; inherit systems having chosen;
  plan = if found then pikaci.${chosen}.plans.${target} else null;
  names = if found then [ ]
    else builtins.concatMap (s: builtins.attrNames pikaci.${s}.plans) systems;
}
"""

_CATALOG = """
pikaci: let
  asked = "%(asked)s"; own = "%(own)s";
  systems = builtins.attrNames pikaci;
  chosen = if asked != "" then asked
    else if builtins.elem own systems || systems == [ ] then own else builtins.head systems;
in {
  nix = builtins.nixVersion; inherit systems chosen;
  catalog = if builtins.elem chosen systems then pikaci.${chosen}.catalog else null;
}
"""

_HOSTS = """
pikaci: let systems = builtins.attrNames pikaci;
in {
  nix = builtins.nixVersion;
  hosts = builtins.foldl' (all: s: all // (pikaci.${s}.hosts or { })) { } systems;
}
"""

_IMAGE = """
pikaci: let
  role = "%(role)s"; asked = "%(asked)s"; own = "%(own)s";
  systems = builtins.attrNames pikaci;
  imagesOf = s: pikaci.${s}.images or { };
  having = builtins.filter (s: imagesOf s ? ${role}) systems;
  guests = builtins.filter (s: builtins.match ".*-linux" s != null) having;
  chosen = if asked != "" then asked
    else if builtins.length guests == 1 then builtins.head guests else own;
  found = builtins.elem chosen having;
  row = builtins.head (builtins.filter (row: row.role == role) pikaci.${chosen}.catalog.images);
in {
  nix = builtins.nixVersion; inherit systems having chosen;
  image = if !found then null
    else if %(built)s && row.buildable then row // pikaci.${chosen}.images.${role} else row;
  names = builtins.concatMap (s: builtins.attrNames (imagesOf s)) systems;
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

    async def plan(self, target: str) -> Evaluated:
        """The plan of `target`, without what a run stamps on it.

        Raises:
            UsageError: there is no such target, or not for that system.
            CatalogError: the flake does not evaluate.
            InfrastructureError: Nix can't work.
        """
        answer = await self._eval(_PLAN, target=target)
        if answer["plan"] is None:
            raise _no_plan(target, answer)
        return Evaluated(answer["plan"], answer["chosen"], answer["nix"])

    async def catalog(self) -> Evaluated:
        """The catalog of the chosen system.

        Raises:
            UsageError: the flake has none for that system.
            CatalogError: the flake does not evaluate.
            InfrastructureError: Nix can't work.
        """
        answer = await self._eval(_CATALOG)
        if answer["catalog"] is None:
            raise _no_system(answer["chosen"], answer["systems"])
        return Evaluated(answer["catalog"], answer["chosen"], answer["nix"])

    async def hosts(self) -> dict[str, Any]:
        """The remote hosts that the flake describes, by name.

        Raises:
            CatalogError: the flake does not evaluate.
            InfrastructureError: Nix can't work.
        """
        found: dict[str, Any] = (await self._eval(_HOSTS))["hosts"]
        return found

    async def image(self, role: str, *, built: bool) -> Evaluated:
        """A role's image; with the derivation that it is built by, if that is asked for.

        Raises:
            UsageError: there is no such role, or not for that system.
            CatalogError: the flake does not evaluate.
            InfrastructureError: Nix can't work.
        """
        answer = await self._eval(_IMAGE, role=role, built="true" if built else "false")
        if answer["image"] is None:
            raise _no_image(role, answer)
        return Evaluated(answer["image"], answer["chosen"], answer["nix"])

    async def _eval(self, function: str, **names: str) -> dict[str, Any]:
        if self.system and not SYSTEM_PATTERN.fullmatch(self.system):
            raise UsageError(f"{self.system!r} is not a system", "one looks like x86_64-linux")
        text = function % {"asked": self.system or "", "own": own_system(), **names}
        argv = self.options.eval_argv(f"{self.reference}#.pikaci", text, read_only=self.read_only)
        caches = {
            "NIX_CACHE_HOME": str(self.state.nix_cache),
            "XDG_CACHE_HOME": str(self.state.nix_cache),
        }
        try:
            async with lock(self.state.nix_cache_lock, EVAL_DEADLINE_SECS, shared=True):
                done = await process.run(
                    argv, deadline_secs=EVAL_DEADLINE_SECS, env={**os.environ, **caches}
                )
        except InfrastructureError:
            await nix.version()
            raise
        messages = [m for m in map(parse_line, done.stderr.splitlines()) if isinstance(m, Message)]
        if not done.ok:
            raise await self._failure(done, [m for m in messages if m.level == ERROR_LEVEL])
        for message in messages:
            if message.level == WARNING_LEVEL:
                sys.stderr.write(_warning(message.text))
        answer: dict[str, Any] = json.loads(done.stdout)
        nix.check_version(answer["nix"])
        return answer

    async def _failure(self, done: process.Completed, errors: list[Message]) -> Exception:
        nix.check_version(await nix.version())
        if self.options.show_trace:
            sys.stderr.writelines(f"{error.text}\n" for error in errors)
        raw = errors[-1].raw if errors else done.last_line()
        if MARK in raw:
            return CatalogError(raw.partition(MARK)[2].strip())
        store = await nix.store_info()
        if done.exit_code < 0 or not store.ok:
            return InfrastructureError(
                f"Nix can't work: {store.last_line()}",
                nix.advice(store.stderr.decode("utf-8", "replace")) or "is its store there?",
            )
        if "does not provide attribute" in raw:
            return CatalogError(
                "the flake has no output `pikaci`", "define it with pikaci's `lib.mkCatalog`"
            )
        return _does_not_evaluate(raw, errors[-1] if errors else None)


def _does_not_evaluate(raw: str, error: Message | None) -> CatalogError:
    why = _one_line(raw)
    unfetched = _UNFETCHED.search(error.text) if error else None
    if unfetched:
        name, url = unfetched["name"], unfetched["url"]
        return CatalogError(
            f"the flake's input {name} can't be had from {url}: {why}",
            f"is that where it is? --override-input {name} URL takes another",
        )
    place = _IN_SOURCE.sub("", error.place) if error else ""
    where = f" at {place}" if place and not place.startswith("/") else ""
    return CatalogError(f"the flake does not evaluate{where}: {why}", "--show-trace tells more")


def _warning(text: str) -> str:
    """What Nix warns of; of an incomplete lock file only what there is to do about it."""
    if "not writing modified lock file" not in text:
        return f"{text}\n"
    names = [name for name in _ADDED_INPUT.findall(text) if "/" not in name]
    if not names:
        # An input was overridden, as asked.
        return ""
    return f"pikaci: flake.lock pins no {', '.join(names)}; `nix flake lock` does\n"


def _one_line(raw: str) -> str:
    """The first sentence; one that ends in a colon goes on in the lines below."""
    lines = [line.strip() for line in raw.splitlines() if line.strip()]
    if not lines:
        return "Nix gave no reason"
    return " ".join(lines[:3]) if lines[0].endswith(":") else lines[0]


def _no_plan(target: str, answer: dict[str, Any]) -> UsageError:
    return _not_there("target", target, answer, "`pikaci targets` lists what there is")


def _no_image(role: str, answer: dict[str, Any]) -> UsageError:
    hint = "`pikaci image list` lists what there is; `images` in the catalog defines them"
    return _not_there("image", role, answer, hint)


def _not_there(what: str, name: str, answer: dict[str, Any], hint: str) -> UsageError:
    from pikaci.nearest import did_you_mean

    if answer["having"]:
        where = ", ".join(answer["having"])
        return UsageError(
            f"{what} {name} is not for {answer['chosen']}: it is for {where}", "say --system"
        )
    guess = did_you_mean(name, sorted(set(answer["names"])))
    return UsageError(f"there is no {what} {name!r}", guess or hint)


def _no_system(system: str, systems: list[str]) -> UsageError:
    return UsageError(
        f"the catalog has nothing for {system}: it has {', '.join(systems) or 'no system'}",
        "say --system",
    )

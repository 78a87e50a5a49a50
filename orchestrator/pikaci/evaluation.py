"""Asking Nix for the catalog or a plan, at a snapshot, in one `nix eval`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jerichoci.errors import (
    PikaciError,
    UsageError,
)
from jerichoci.machine.system import own_system
from jerichoci.nix import command as nix
from jerichoci.state.answers import Answers
from jerichoci.state.dataclass import dataclass
from jerichoci.state.natural import natural
from jerichoci.state.trace import span
from pikaci.evaluation_cache import EvaluationCache, inputs_are_fixed
from pikaci.flake_config import file_at
from pikaci.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jerichoci.nix.command import NixOptions
    from jerichoci.state.layout import StateLayout
    from pikaci.flake_files import FlakeFiles

SYSTEM_PATTERN = re.compile(r"[a-z0-9_]+-[a-z0-9_]+")


_TARGETS_HINT = "`pikaci targets` lists them"

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
        from pikaci.nix_eval import NixEval

        asking = NixEval(self.state, self.reference, self.options, self.read_only, self.files)
        asked = await asking.ask(argv)
        answer: dict[str, Any] = asked.found["answer"]
        nix.check_version(answer["nix"])
        if key and asked.found["pure"] and asked.is_silent and await self._is_fixed(asked.added):
            cache.keep(key, answer)
        return answer

    async def _is_fixed(self, added: Collection[str]) -> bool:
        """Whether each input of the flake has the same content for ever."""
        overrides = self.options.override_inputs
        if not {*added} <= {name for name, _ in overrides}:
            return False
        lock = await file_at(self.state.root, self.reference, "flake.lock")
        return inputs_are_fixed(lock, overrides)


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

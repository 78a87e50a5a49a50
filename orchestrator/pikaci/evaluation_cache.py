"""Answers of evaluations, kept below a state root by all that they depend on.

An answer follows from the snapshot, the flake's inputs, the expression that is evaluated, Nix and
its settings: these are its key. It is kept only where each input is fixed (by a commit or a hash,
or in the store), Nix evaluated purely, and said nothing. It is used only while the derivations and
sources that it names are in the store.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from jerichoci.nix.identity import nix_identity
from jerichoci.state.answers import Answers, key_of
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_IN_STORE = re.compile(r"(path:)?/nix/store/[a-z0-9]{32}-[^/]+")
_OF_A_COMMIT = frozenset({"github", "gitlab", "sourcehut", "git", "mercurial"})
_OF_CONTENT = frozenset({"tarball", "file"})


@dataclass(frozen=True)
class EvaluationCache:
    """What command lines of Nix answered."""

    answers: Answers

    def key(self, argv: Sequence[str]) -> str | None:
        """The key of what a command line answers; None if it is not known by what."""
        nix = nix_identity()
        return None if nix is None else f"evaluation-{key_of(argv, nix)}"

    def find(self, key: str, *, has_derivations: bool) -> dict[str, Any] | None:
        """The answer, if all that it names is there."""
        text = self.answers.find(key)
        if text is None:
            return None
        answer: dict[str, Any] = json.loads(text)
        is_there = not has_derivations or all(map(os.path.lexists, _needed(answer)))
        return answer if is_there else None

    def keep(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer."""
        self.answers.keep(key, json.dumps(answer).encode())


def _needed(value: object) -> Iterator[str]:
    """The store paths that a build of what an answer names begins with."""
    if isinstance(value, dict):
        drv, out = value.get("drv_path"), value.get("out_path")
        if needed := drv or ("drv_path" in value and out):
            yield needed
        for inner in value.values():
            yield from _needed(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _needed(inner)


def inputs_are_fixed(lock: bytes | None, overrides: Iterable[tuple[str, str]]) -> bool:
    """Whether each input has the same content for ever, by flake.lock and the overrides."""
    try:
        values = json.loads(lock or b"{}")
        nodes = [node.get("locked") for node in values.get("nodes", {}).values()]
        locked = all(_is_locked(node) for node in nodes if node is not None)
    except (ValueError, AttributeError, TypeError):
        return False
    return locked and all(_is_fixed(url) for _, url in overrides)


def _is_locked(node: dict[str, Any]) -> bool:
    """Whether a lock file's description of an input is of one content."""
    match node.get("type"):
        case "path":
            path = str(node.get("path"))
            # A relative one is in the tree.
            return not path.startswith("/") or _IN_STORE.fullmatch(path) is not None
        case kind if kind in _OF_A_COMMIT:
            return _REVISION.fullmatch(str(node.get("rev"))) is not None
        case kind if kind in _OF_CONTENT:
            return bool(node.get("narHash"))
    return False


def _is_fixed(url: str) -> bool:
    """Whether a URL of a flake, such as `--override-input` takes, is of one content."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if _IN_STORE.fullmatch(url.partition("?")[0]) or "narHash" in query:
        return True
    if any(map(_REVISION.fullmatch, query.get("rev", []))):
        return True
    owned = parts.scheme in {"github", "gitlab", "sourcehut"}
    return owned and _REVISION.fullmatch(parts.path.rpartition("/")[2]) is not None

"""What a run was made from: its source, the locked inputs of its flake, files, its plan."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from jerichoci.errors import UsageError
from jerichoci.nix import command as nix
from jerichoci.plan.plan import NixBuild
from jerichoci.snapshot.repository import open_repository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.plan.plan import Plan
    from jerichoci.record.record import RunRecord
    from jerichoci.record.store import RunStore

LOCK_FILE = "flake.lock"
_FORGES = frozenset({"github", "gitlab", "sourcehut"})


async def dependencies_of(store: RunStore, record: RunRecord, plan: Plan) -> list[dict[str, Any]]:
    """Descriptors of in-toto, that of the source first."""
    return [
        _source(record),
        *_what_jobs_saw(record),
        *await _inputs(store, record),
        *await _files(plan),
        {
            "name": "plan",
            "digest": {"sha256": record.plan_digest},
            "mediaType": "application/json",
        },
    ]


def _source(record: RunRecord) -> dict[str, Any]:
    digest = {"gitTree": record.source_tree or record.snapshot_id or ""}
    scheme = "file" if record.git_dirty is None else "git+file"
    here = f"{scheme}://{quote(record.source_root or '/')}"
    url = f"git+{record.source_url.replace('***@', '')}" if record.source_url else here
    found: dict[str, Any] = {"name": "source", "uri": url, "digest": digest}
    commit = record.source_rev or record.git_head
    if commit and not record.git_dirty:
        digest["gitCommit"] = commit
    elif commit:
        found["annotations"] = {"pikaci_changedSince": commit}
    return found


def _what_jobs_saw(record: RunRecord) -> list[dict[str, Any]]:
    """The part of the source that the jobs saw, if they did not see all."""
    if record.snapshot_id in {None, record.source_tree}:
        return []
    return [{"name": "snapshot", "digest": {"gitTree": record.snapshot_id}}]


async def _inputs(store: RunStore, record: RunRecord) -> list[dict[str, Any]]:
    """The inputs of the flake that were used: those that are locked, and those given instead."""
    given = [
        {"name": f"inputs/{name}", "uri": uri.replace("***@", "")}
        for name, uri in record.overrides.items()
    ]
    name = str(PurePosixPath(record.flake_dir or "") / LOCK_FILE)
    git = (await open_repository(store.layout.root)).git
    done = await git.run("cat-file", "blob", f"{record.source_tree}:{name}")
    if not done.ok:
        return given
    try:
        lock = json.loads(done.stdout)
        names = sorted(_used(lock["nodes"], lock["root"], record.overrides))
        found = [_input(name, lock["nodes"][name]["locked"]) for name in names]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{name} of the snapshot can't be read: {error!r}") from None
    return [*found, *given]


def _used(nodes: dict[str, Any], root: str, overrides: Mapping[str, str]) -> set[str]:
    """The nodes of a lock file that are reached by no input that was replaced."""
    found: set[str] = set()
    waiting = [(root, "")]
    for node, path in waiting:
        for name, target in nodes[node].get("inputs", {}).items():
            # A list follows another input, which is reached by its own path.
            if f"{path}{name}" not in overrides and isinstance(target, str):
                if target not in found:
                    waiting.append((target, f"{path}{name}/"))
                found.add(target)
    return found


def _input(name: str, locked: dict[str, Any]) -> dict[str, Any]:
    digest = {}
    if archive := locked.get("narHash"):
        digest["sha256"] = _hexadecimal(archive)
    if commit := locked.get("rev"):
        digest["gitCommit"] = commit
    return {"name": f"inputs/{name}", "uri": _uri(locked), "digest": digest}


def _hexadecimal(text: str) -> str:
    """A SHA-256 as `sha256-BASE64` spells it."""
    algorithm, _, encoded = text.partition("-")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raw = b""
    if algorithm != "sha256" or not raw:
        raise ValueError(f"{text!r} is not a SHA-256")
    return raw.hex()


def _uri(locked: dict[str, Any]) -> str:
    """A locked reference of a flake as one text."""
    kind, rev = locked["type"], locked.get("rev", "")
    query: dict[str, str] = {
        name: locked[name] for name in ("dir", "host", "ref") if name in locked
    }
    if kind in _FORGES:
        query.pop("ref", None)
        text = f"{kind}:{quote(locked['owner'])}/{quote(locked['repo'])}/{rev}"
    elif kind == "path":
        text = f"path:{quote(locked['path'])}"
    else:
        prefix = "" if kind in {"tarball", "file"} else f"{kind}+"
        text = f"{prefix}{locked['url']}"
        query |= {"rev": rev} if rev else {}
    joint = "&" if "?" in text else "?"
    return f"{text}{joint}{urlencode(query)}" if query else text


async def _files(plan: Plan) -> list[dict[str, Any]]:
    """The store paths that evaluation itself added: no derivation made them."""
    paths = [
        node.prepare.out_path
        for node in plan.prepares
        if isinstance(node.prepare, NixBuild) and node.prepare.drv_path is None
    ]
    absent = await nix.invalid(paths) if paths else frozenset()
    hashes = await nix.nar_hashes([path for path in paths if path not in absent])
    return [
        {"name": path, "digest": {"sha256": digest}, "mediaType": "application/x-nix-nar"}
        for path, digest in hashes.items()
    ]

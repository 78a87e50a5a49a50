"""Whether a statement is what it should be, and whether what is on this machine is what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jerichoci.nix import command as nix
from jerichoci.state.dataclass import dataclass
from jerichoci.state.reading import parse, rows
from pikaci.attest.envelope import NotVerifiedError, verified_payload
from pikaci.attest.statement import (
    ARCHIVE_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    artifact_paths,
    byproduct_paths,
    sha256,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from jerichoci.record.store import RunStore

_STORE_PATH = re.compile(r"/[^\0]+/[0-9a-df-np-sv-z]{32}-[\w.+?=-]+")
_PREPARED = "prepared/"


@dataclass(frozen=True)
class Checked:
    """One thing that a statement names, and how what is here compares."""

    name: str
    result: Literal["same", "changed", "absent"]


def verified_statement(line: bytes, key: Ed25519PublicKey) -> dict[str, Any]:
    """The statement in an envelope.

    Raises:
        NotVerifiedError: the key did not sign it, or it is no statement of what a run built.
    """
    try:
        envelope = parse(line)
    except ValueError as error:
        raise NotVerifiedError(f"it is no JSON object: {error}") from None
    payload = verified_payload(envelope, key)
    try:
        statement = parse(payload)
    except ValueError as error:
        raise NotVerifiedError(f"what is signed is no JSON object: {error}") from None
    for name, wanted in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if statement.get(name) != wanted:
            raise NotVerifiedError(f"its {name} is {statement.get(name)!r}, not {wanted}")
    subjects = rows(statement, "subject")
    if not subjects or not all(_sha256_of(row) for row in subjects):
        raise NotVerifiedError("not all that it is about has a name and a SHA-256")
    if run_of(statement) is None:
        raise NotVerifiedError("it does not say of which run it is")
    return statement


def run_of(statement: dict[str, Any]) -> str | None:
    """The id of the run that a statement is about."""
    found = _details(statement).get("metadata")
    name = found.get("invocationId") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


async def compare(statement: dict[str, Any], store: RunStore | None) -> list[Checked]:
    """Compare all that a statement names with what is here; `store` has its run, if any has."""
    places: dict[str, Path] = {}
    run_id = run_of(statement) or ""
    if store is not None:
        layout, record = store.run(run_id), store.load_run_record(run_id)
        places = artifact_paths(layout, record) | byproduct_paths(layout, record)
        prepared = store.load_prepared_outputs(run_id).outputs
        places |= {f"{_PREPARED}{row.node_id}": Path(row.path) for row in prepared if row.path}
    named = [*rows(statement, "subject"), *rows(_details(statement), "byproducts")]
    return [await _compare(row, places) for row in named]


async def _compare(row: dict[str, Any], places: dict[str, Path]) -> Checked:
    name = str(row.get("name"))
    is_archive = row.get("mediaType") == ARCHIVE_TYPE
    path = Path(name) if is_archive and _STORE_PATH.fullmatch(name) else places.get(name)
    try:
        if path is None or not path.exists():
            return Checked(name, "absent")
        digest = await nix.nar_hash(str(path)) if is_archive else sha256(path)
    except OSError:
        return Checked(name, "absent")
    return Checked(name, "same" if digest == _sha256_of(row) else "changed")


def _sha256_of(row: dict[str, Any]) -> str | None:
    digest = row.get("digest")
    found = digest.get("sha256") if isinstance(digest, dict) else None
    return found if isinstance(found, str) and isinstance(row.get("name"), str) else None


def _details(statement: dict[str, Any]) -> dict[str, Any]:
    predicate = statement.get("predicate")
    details = predicate.get("runDetails") if isinstance(predicate, dict) else None
    return details if isinstance(details, dict) else {}

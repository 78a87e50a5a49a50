"""What a run built, from what and where: a Statement of in-toto with a Provenance of SLSA.

Everything in it is text: readers through protobuf take every number for a double, and lose digits
of large ones.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError
from jerichoci.nix import command as nix
from jerichoci.plan.plan import NixBuild
from jerichoci.state.dataclass import dataclass
from jerichoci.status import Outcome, Status
from pikaci.attest.dependencies import dependencies_of
from pikaci.screen import as_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.plan.plan import Plan
    from jerichoci.record.record import JobRecord, PreparedOutput, RunRecord
    from jerichoci.record.store import RunStore
    from jerichoci.state.layout import RunLayout

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "pikaci:run/v1"
"""docs/provenance.md describes it."""
ARCHIVE_TYPE = "application/x-nix-nar"
"""The media type that Nix has for archives; a digest beside it is the archive's."""


@dataclass(frozen=True)
class Evidence:
    """A finished run and its records."""

    store: RunStore
    layout: RunLayout
    record: RunRecord
    plan: Plan
    outputs: list[PreparedOutput]


def passed_run(store: RunStore, run_id: str) -> Evidence | None:
    """A run that can be attested; None if path filters skipped it.

    Raises:
        UsageError: it has not passed.
        RecordError: its records can't be read.
    """
    if not store.is_over(run_id):
        raise UsageError(f"run {run_id} is not over", "wait for its end")
    record = store.load_run_record(run_id)
    if record.status is Status.SKIPPED:
        return None
    if record.status is not Status.PASSED:
        raise UsageError(f"run {run_id} {_ended(record)}: only a run that passed is attested")
    outputs = store.load_prepared_outputs(run_id).outputs
    return Evidence(store, store.run(run_id), record, store.load_plan(run_id), outputs)


def _ended(record: RunRecord) -> str:
    return {Status.FAILED: "failed"}.get(record.status, f"was {record.status}")


async def statement_of(
    run: Evidence, builder: str | None
) -> tuple[dict[str, Any] | None, list[str]]:
    """The statement about a run, and what it leaves out; `builder` is the URI of who ran it.

    It is None if the run left nothing that it could be about.

    Raises:
        UsageError: what it built is not in the store any more.
        InfrastructureError: Nix's store or git does not answer.
    """
    built, left_out = await _built(run)
    subjects = [*built, *_artifacts(run.record)]
    if not subjects:
        return None, left_out
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": await _definition(run),
            "runDetails": _details(run, builder),
        },
    }, left_out


async def _built(run: Evidence) -> tuple[list[dict[str, Any]], list[str]]:
    """The prepared outputs of derivations and commands, and those that are not on this machine."""
    made = {node.id: node.prepare for node in run.plan.prepares}
    derived: dict[str, PreparedOutput] = {}
    subjects, left_out = [], []
    for output in run.outputs:
        if output.outcome != Outcome.PASSED or output.path is None or output.node_id not in made:
            continue
        spec = made[output.node_id]
        if isinstance(spec, NixBuild):
            if spec.drv_path is not None:
                derived[output.path] = output
        elif output.path.startswith(f"{run.layout.prepared}/"):
            digest = await nix.nar_hash(output.path)
            subjects.append(archive(f"prepared/{output.node_id}", digest, how="command"))
        else:
            left_out.append(f"{output.node_id}, which was made on {output.places[0].host}")
    absent = await nix.invalid([*derived]) if derived else frozenset()
    hashes = await nix.nar_hashes([path for path in derived if path not in absent])
    for path, output in derived.items():
        place = next((row for row in output.places if row.path == path), None)
        if path not in absent:
            how = place.how if place and place.how else "built"
            found = archive(path, hashes[path], how=how, derivation=output.drv_path or "")
            subjects.append(found)
        elif place is None or not (place.gc_root or "/").startswith("/"):
            raise UsageError(f"{path} is not in the Nix store any more", "run the target again")
        else:
            left_out.append(f"{output.node_id}, which is on {place.host} alone")
    return subjects, left_out


def archive(name: str, digest: str, **notes: str) -> dict[str, Any]:
    """What is at a path, by the SHA-256 of its archive (NAR)."""
    row: dict[str, Any] = {"name": name, "digest": {"sha256": digest}, "mediaType": ARCHIVE_TYPE}
    return row | {"annotations": {f"pikaci_{key}": text for key, text in notes.items()}}


def artifact_paths(run: RunLayout, record: RunRecord) -> dict[str, Path]:
    """Where the artifacts are, by their names in a statement."""
    return {
        _artifact_name(job, row.path): run.attempt(job.id, job.attempt)
        / "artifacts/files"
        / row.path
        for job in record.jobs
        for row in job.artifacts
    }


def _artifact_name(job: JobRecord, path: str) -> str:
    return as_utf8(f"artifacts/{job.id}/{path}")


def _artifacts(record: RunRecord) -> Iterator[dict[str, Any]]:
    for job in record.jobs:
        for row in job.artifacts:
            yield {
                "name": _artifact_name(job, row.path),
                "digest": {"sha256": row.sha256},
                "annotations": {"pikaci_bytes": str(row.bytes)},
            }


async def _definition(run: Evidence) -> dict[str, Any]:
    record = run.record
    ran = [job for job in record.jobs if job.status is Status.PASSED]
    dependencies = await dependencies_of(run.store, record, run.plan)
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "source": dependencies[0]["uri"],
            "flakeDirectory": record.flake_dir or ".",
            "target": record.target_id,
            "system": record.system,
            "jobs": [job.id for job in ran],
            "partial": record.partial,
        },
        "internalParameters": {
            "places": {
                job.id: {
                    "placement": job.placement,
                    "runtime": job.runtime,
                    "host": job.host or "",
                }
                for job in ran
            }
        },
        "resolvedDependencies": dependencies,
    }


def _details(run: Evidence, builder: str | None) -> dict[str, Any]:
    record, tool = run.record, run.record.tool
    versions = {"pikaci": tool.version, "nix": tool.nix_version or "unknown"}
    return {
        "builder": {
            "id": builder or f"urn:uuid:{run.store.layout.owner_id()}",
            "version": versions,
        },
        "metadata": {
            "invocationId": record.run_id,
            "startedOn": record.created_at,
            "finishedOn": record.finished_at,
        },
        "byproducts": [
            {"name": name, "digest": {"sha256": sha256(path)}}
            for name, path in byproduct_paths(run.layout, record).items()
        ],
    }


def byproduct_paths(run: RunLayout, record: RunRecord) -> dict[str, Path]:
    """The records and logs of a run, by their names in a statement."""
    logs = [
        name
        for job in record.jobs
        for attempt in job.attempts
        for name in (attempt.host_log_path, attempt.guest_log_path)
    ]
    names = [run.record.name, run.plan.name, *logs]
    return {name: run.root / name for name in names if (run.root / name).is_file()}


def sha256(path: Path) -> str:
    """The SHA-256 of a file; hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

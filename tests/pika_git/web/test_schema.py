"""The API against its own description, with a forge that has something of everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from forge_scenes import Scene, lane
from pika_git.data import DataDir
from pika_git.forge_service import recovery
from pika_git.forge_service.forge import Forge
from pika_git.forge_service.recovery import Act
from pika_git.web.api import ROUTES
from served import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
LIMITS = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def fill(scene: Scene, forge: Forge) -> None:
    """Runs in every state, with records, waits, audit, health and a nightly slot."""
    worker, repo = scene.worker(slots=9), scene.repo()
    branch = scene.branch(repo, "main")
    for state in ("success", "failed", "skipped"):
        scene.run(branch, [lane(state)])
        claim = scene.claim(worker)
        status = {"success": "passed"}.get(state, state)
        scene.record(claim, status, b"said\n", begun=scene.now, secs=2)
        scene.finish(claim, state, failure_kind="timeout" if state == "failed" else None)
    scene.run(branch, [lane("held", group_name="one"), lane("gpu", labels=("gpu",))])
    scene.record(scene.claim(worker), "running", b"says\n", begun=scene.now, secs=2)
    scene.run(branch, [lane("waits", group_name="one")])
    scene.run(branch, state="failed", message="a broken catalog", hint="fix it")
    scene.execute(
        "INSERT INTO nightly_slot (repo_id, slot_at, state, run_id) VALUES (1, 0, 'run', 1)"
    )
    recovery.rerun_run(forge, 1, Act("ann", "again"))


def operations() -> list[str]:
    return [
        f"{method} {route.path}"
        for route in ROUTES
        if route.include_in_schema and not route.path.endswith("/stream")
        for method in sorted(route.methods or ())
    ]


@dataclass(frozen=True)
class Described:
    """A forge that is being served, what its API says of itself, and a token."""

    schema: schemathesis.BaseSchema
    headers: dict[str, str]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    scene = Scene(DataDir(tmp_path_factory.mktemp("forge")))
    forge = Forge(replace(scene.database, now=None), scene.data)
    fill(scene, forge)
    with serving(forge) as served:
        schema = schemathesis.openapi.from_dict(served.app.openapi())
        schema.config.base_url = served.url
        yield Described(schema, served.caller("admin").headers)
    scene.close()


@pytest.mark.parametrize("operation", operations())
def test_an_operation_answers_as_it_is_described(described: Described, operation: str) -> None:
    method, path = operation.split(" ")

    @LIMITS
    @given(case=described.schema[path][method].as_strategy())
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers=described.headers, checks=CHECKS)

    check()

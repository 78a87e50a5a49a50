"""A user without rights: jobs are held by a user namespace, or by what is said in the record.

As root these tests give up root, and keep the one right to read where Python and the project lie.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jerichoci.state.layout import StateLayout
from jerichoci.status import Status
from plans import commanded, job
from runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.plan.plan import ExecuteNode, PrepareNode
    from runner import Ended

NOBODY = 65534
DEADLINE_SECS = 60
READ = "dac_read_search"
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *(f"--inh-caps=-all,+{READ}", f"--ambient-caps=-all,+{READ}", f"--bounding-set=-all,+{READ}"),
]


@pytest.fixture
def prefix() -> list[str]:
    """What makes a command an unprivileged user's."""
    return AS_NOBODY if os.geteuid() == 0 else []


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of that user's, below none that is closed to him."""
    directory = Path(tempfile.mkdtemp())
    yield directory
    shutil.rmtree(directory)


def give(directory: Path) -> None:
    if os.geteuid() == 0:
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@pytest.fixture
async def theirs(runner: Runner, home: Path) -> Runner:
    """An engine with a state root that is the unprivileged user's."""
    state = StateLayout(home / "state")
    shutil.copytree(runner.state.root, state.root, symlinks=True)
    give(home)
    return Runner(state, runner.tree)


def run(
    theirs: Runner, prefix: list[str], *nodes: PrepareNode | ExecuteNode, namespaces: bool = True
) -> Ended:
    env = {"HOME": str(theirs.state.root.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    with theirs.start(*nodes, prefix=prefix, env=env, namespaces=namespaces) as process:
        assert process.wait(DEADLINE_SECS) == 0
    return theirs.ended()


@pytest.mark.parametrize("namespaces", [True, False])
def test_a_job_works_in_its_workspace_and_leaves_the_snapshot_as_it_was(
    theirs: Runner,
    prefix: list[str],
    namespaces: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    command = "echo changed > README; ./src/main; cat README; id -u; touch $PIKACI_ARTIFACTS/x"
    ended = run(theirs, prefix, job("a", command), namespaces=namespaces)
    assert ended.record.status is Status.PASSED, ended.log("a")
    user = NOBODY if prefix else os.geteuid()
    assert ended.said("a") == ["from main", "changed", str(user)]
    assert (theirs.snapshot / "README").read_text() == "hello\n"
    assert [row.path for row in ended.job("a").artifacts] == ["x"]
    assert not ended.layout.scratch.exists()


def test_the_record_says_what_held_the_job(theirs: Runner, prefix: list[str]) -> None:
    ended = run(theirs, prefix, job("a", "ls /proc | grep -c '^[0-9]*$'"))
    execution = ended.job("a").execution
    (count,) = ended.said("a")
    if execution["processes"] == "pid_namespace":
        assert int(count) < 10
        assert execution["workspace"] in {"overlay", "copy"}
    else:
        assert execution == {"processes": "process_group", "workspace": "copy"}


def test_a_job_has_no_rights_that_its_user_has_not(theirs: Runner, prefix: list[str]) -> None:
    ended = run(
        theirs, prefix, job("a", "grep CapEff /proc/self/status; chown 1:1 README || echo no")
    )
    assert ended.said("a")[-1] == "no"
    if ended.job("a").execution["processes"] == "pid_namespace":
        assert int(ended.said("a")[0].split()[1], 16) == 0


def test_a_plan_without_nix_prepares(theirs: Runner, prefix: list[str]) -> None:
    prepare = commanded("dep", "echo made > out")
    ended = run(theirs, prefix, prepare, job("a", "cat $PIKACI_INPUT_DEP/out", needs=["dep"]))
    assert ended.said("a") == ["made"]


def test_a_job_that_wants_to_be_root_is_refused(theirs: Runner, prefix: list[str]) -> None:
    ended = run(theirs, prefix, job("a", run_as_root=True))
    assert ended.record.message == "job a wants to run as root"

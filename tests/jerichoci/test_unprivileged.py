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

from jerichoci.plan.secrets import Secret
from jerichoci.state.layout import StateLayout
from jerichoci.status import Status
from plans import commanded, job
from runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.plan.plan import ExecuteNode, PrepareNode

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


@pytest.mark.parametrize("namespaces", [True, False])
def test_a_job_has_what_its_user_has(
    theirs: Runner,
    prefix: list[str],
    namespaces: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    works = "echo changed > README; ./src/main; cat README; id -u; touch $PIKACI_ARTIFACTS/x"
    nodes: list[PrepareNode | ExecuteNode] = [
        commanded("dep", "echo made > out"),
        job("works", works),
        job("counts", "ls /proc | grep -c '^[0-9]*$'"),
        job("gives", "grep CapEff /proc/self/status; chown 1:1 README || echo no"),
        job("reads", "cat $PIKACI_INPUT_DEP/out", needs=["dep"]),
        job("rules", run_as_root=True),
    ]
    env = {"HOME": str(theirs.state.root.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    with theirs.start(*nodes, prefix=prefix, env=env, namespaces=namespaces) as process:
        assert process.wait(DEADLINE_SECS) == 0
    ended = theirs.ended()
    assert ended.record.message == "job rules wants to run as root"
    passed = {row.id for row in ended.record.jobs if row.status is Status.PASSED}
    assert passed == {"works", "counts", "gives", "reads"}, ended.log("works")
    user = NOBODY if prefix else os.geteuid()
    assert ended.said("works") == ["from main", "changed", str(user)]
    assert (theirs.snapshot / "README").read_text() == "hello\n"
    assert [row.path for row in ended.job("works").artifacts] == ["x"]
    assert ended.said("reads") == ["made"]
    assert ended.said("gives")[-1] == "no"
    assert not ended.layout.scratch.exists()
    execution = ended.job("counts").execution
    if execution["processes"] == "pid_namespace":
        assert int(ended.said("counts")[0]) < 10
        assert execution["workspace"] in {"overlay", "copy"}
        assert int(ended.said("gives")[0].split()[1], 16) == 0
    else:
        assert execution == {"processes": "process_group", "workspace": "copy"}


def test_an_unprivileged_user_has_secrets_in_memory(theirs: Runner, prefix: list[str]) -> None:
    secret = Secret(name="TOKEN", kind="command", value="echo correct-horse-battery")
    command = """
    stat -c '%a %u' "$PIKACI_SECRET_TOKEN"; stat -fc %T "$PIKACI_SECRET_TOKEN"
    ! touch "${PIKACI_SECRET_TOKEN%/*}/other" && cat "$PIKACI_SECRET_TOKEN"
    """
    env = {"HOME": str(theirs.state.root.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    with theirs.start(job("a", command, secrets=[secret]), prefix=prefix, env=env) as process:
        assert process.wait(DEADLINE_SECS) == 0
    ended = theirs.ended()
    if ended.job("a").execution.get("processes") != "pid_namespace":
        assert "has no namespaces for jobs" in (ended.job("a").message or "")
        return
    assert ended.job("a").status is Status.PASSED, ended.log("a")
    user = NOBODY if prefix else os.geteuid()
    assert [*ended.said("a")[:2], ended.said("a")[-1]] == [f"400 {user}", "tmpfs", "***"]

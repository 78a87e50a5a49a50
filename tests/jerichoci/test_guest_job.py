"""A job, and a shell, in the words of the runner in its guest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jerichoci.plan.plan import InputRef
from jerichoci.runtime.guest_mounts import GuestMounts
from jerichoci.runtime.guest_runner import VARIABLE_LIMIT, job_variables, shell_variables
from plans import job

STORED, HERE = Path("/nix/store/" + "a" * 32 + "-stored"), Path("/state/made")
INPUTS = {"stored": STORED, "here": HERE, "placed": STORED}
REFS = [
    InputRef(node_id="stored", env="STORED"),
    InputRef(node_id="here", env="HERE"),
    InputRef(node_id="placed", env="PLACED", guest_path="/opt/placed"),
    InputRef(node_id="stored", env=None),
]


def mounted() -> GuestMounts:
    mounts = GuestMounts()
    for ref in REFS:
        planned = INPUTS[ref.node_id]
        mounts.add_input(ref, planned, planned, None)
    return mounts


@pytest.mark.parametrize("size", [10, VARIABLE_LIMIT])
def test_a_shell_has_the_environment_of_its_job(size: int) -> None:
    execute = job("it", env={"LONG": "x" * size}).execute.with_(inputs=REFS)
    of_job, files = job_variables(execute, mounted(), 10.0)
    of_shell = shell_variables(execute, INPUTS, ["true"], terminal=False, prompt="")
    names = {name for name in of_job if name.startswith("PIKACI_INCUS_ENV")}
    assert {name: of_shell[name] for name in names} == {name: of_job[name] for name in names}
    assert set(files) == ({".env.json"} if size == VARIABLE_LIMIT else set())
    env = json.loads(files.get(".env.json") or of_job["PIKACI_INCUS_ENV"])
    assert env["STORED"] == str(STORED)
    assert env["HERE"] == "/staged/here"
    assert env["PLACED"] == "/opt/placed"


def test_a_shell_is_whose_the_job_was() -> None:
    for as_root in (False, True):
        execute = job("it", "true", run_as_root=as_root).execute
        variables = shell_variables(execute, {}, [], terminal=True, prompt="it$ ")
        assert variables["PIKACI_INCUS_RUN_AS_ROOT"] == str(int(as_root))
        assert "PIKACI_INCUS_GUEST_COMMAND" not in variables
        assert json.loads(variables["PIKACI_INCUS_ENV"])["PS1"] == "it$ "


def test_words_stay_words() -> None:
    execute = job("it", "true").execute
    variables = shell_variables(execute, {}, ["a b", "$c", ""], terminal=True, prompt="")
    assert variables["PIKACI_INCUS_GUEST_COMMAND"] == "'a b' '$c' ''"

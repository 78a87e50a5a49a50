"""Secrets of jobs: where they are found, what jobs have of them, and where they never are."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from e2e.project import wait_for
from jerichoci.errors import UsageError
from jerichoci.machine.confinement import Confinement
from jerichoci.plan.secrets import Secret
from jerichoci.plan.services import Service
from jerichoci.status import FailureKind, Status
from plans import RUN_ID, job
from runner import kill_owner

if TYPE_CHECKING:
    from runner import Runner

VALUE = "hunter2-/+=is%long"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAAo\n-----END KEY-----\n"
SECRET = Secret(name="TOKEN", kind="env", value="OUR_TOKEN")
ONLY_READER = """
stat -c '%a %u' "$PIKACI_SECRET_TOKEN"; stat -fc %T "$PIKACI_SECRET_TOKEN"
! env | grep -qFf "$PIKACI_SECRET_TOKEN" || exit 3
! grep -aqsFf "$PIKACI_SECRET_TOKEN" /proc/[0-9]*/{environ,cmdline} || exit 4
! ls -l /proc/[0-9]*/fd | grep pikaci-secrets || exit 5
! touch "${PIKACI_SECRET_TOKEN%/*}/other" || exit 6
"""
FORMS = """
echo "it is $(cat $PIKACI_SECRET_TOKEN)!"; head -c 7 "$PIKACI_SECRET_TOKEN"; sleep 0.2
tail -c +8 "$PIKACI_SECRET_TOKEN"; echo
for before in '' u us use; do (printf %s "$before"; cat "$PIKACI_SECRET_TOKEN") | base64; done
sed 's/^/key: /' "$PIKACI_SECRET_KEY" >&2
python3 -c 'import sys, urllib.parse as u; print(u.quote(sys.stdin.read(), safe=""))' \
  <"$PIKACI_SECRET_TOKEN"
printf 'no line end: '; cat "$PIKACI_SECRET_TOKEN"
"""


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_TOKEN", VALUE)
    monkeypatch.setenv("OUR_KEY", KEY)


def files_with(root: Path, *words: bytes) -> list[Path]:
    """The files below a directory that have one of the words."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(word in path.read_bytes() for word in words)]


async def test_a_job_has_a_secret_in_a_file_in_memory_that_nothing_else_has(runner: Runner) -> None:
    run = await runner.run(job("a", ONLY_READER, secrets=[SECRET]))
    assert run.job("a").status is Status.PASSED
    assert run.said("a")[:2] == [f"400 {os.getuid()}", "tmpfs"]
    assert run.job("a").execution["secrets"] == ["TOKEN"]


async def test_no_form_of_a_secret_that_a_job_prints_reaches_a_disk(runner: Runner) -> None:
    key = Secret(name="KEY", kind="env", value="OUR_KEY")
    run = await runner.run(job("a", FORMS, secrets=[SECRET, key]))
    assert run.job("a").status is Status.PASSED
    said = run.said("a")
    assert said[:2] == ["it is ***!", "***"]
    assert said[-1] == "no line end: ***"
    assert said.count("key: ***") == len(KEY.splitlines())
    forms = [base64.b64encode(before + VALUE.encode())[4:-4] for before in (b"", b"u", b"us")]
    words = [VALUE.encode(), quote(VALUE, safe="").encode(), *forms]
    assert files_with(runner.state.root, *words, *KEY.encode().split()[2:4]) == []


async def test_a_secret_for_some_branches_is_given_on_these_only(runner: Runner) -> None:
    secrets = [SECRET.with_(branches=["main", "release/*"])]
    has = job("a", 'test -n "$PIKACI_SECRET_TOKEN"', secrets=secrets)
    for branch, status in (("release/1", Status.PASSED), ("x", Status.FAILED)):
        run = await runner.run(has, branch=branch)
        assert run.job("a").status is status
    assert run.job("a").attempts[0].notes == [
        "secret TOKEN was not given: it is for main, release/*, and this run is of x"
    ]
    run = await runner.run(has)
    assert run.job("a").attempts[0].notes == [
        "secret TOKEN was not given: it is for main, release/*, and this run names no `--branch`"
    ]


async def test_a_machine_keeps_secrets_from_other_branches_whatever_the_catalog_says(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = tmp_path / "hosts.toml"
    hosts.write_text('[local]\nsecret_branches = ["main"]\n')
    monkeypatch.setenv("PIKACI_HOSTS_FILE", str(hosts))
    has = job("a", 'test -n "$PIKACI_SECRET_TOKEN"', secrets=[SECRET])
    for branch, status in (("main", Status.PASSED), ("x", Status.FAILED), (None, Status.FAILED)):
        run = await runner.run(has, branch=branch)
        assert run.job("a").status is status
    assert "on this machine not for all" in run.job("a").attempts[0].notes[0]


async def test_a_secret_in_a_test_report_is_not_shown(runner: Runner) -> None:
    command = r"""
    printf '1..1\nnot ok 1 - it is %s\n' "$(cat "$PIKACI_SECRET_TOKEN")" >"$PIKACI_ARTIFACTS/a.tap"
    exit 1
    """
    run = await runner.run(job("a", command, secrets=[SECRET]))
    tests = run.job("a").tests
    assert tests is not None
    assert [case.name for case in tests.failures] == ["it is ***"]
    shown = [path.name for path in files_with(runner.state.root, VALUE.encode())]
    assert shown == ["a.tap"]


async def test_services_have_no_secrets(runner: Runner) -> None:
    service = Service(
        name="web", command="env; touch ../up; sleep 60", ready="test -e ../up", ready_secs=30
    )
    other = SECRET.with_(name="OTHER")
    command = 'test -r "$PIKACI_SECRET_TOKEN" -a -r "$PIKACI_SECRET_OTHER"'
    run = await runner.run(job("a", command, secrets=[SECRET, other], services=[service]))
    assert run.job("a").status is Status.PASSED, run.log("a")
    (log,) = run.layout.root.rglob("web.log")
    assert "PIKACI_SERVICE_WEB" in log.read_text()
    assert "PIKACI_SECRET" not in log.read_text()


MISSING: list[tuple[dict[str, Any], str]] = [
    ({"kind": "env", "value": "NO_SUCH"}, "the variable NO_SUCH is not set"),
    ({"kind": "file", "value": "/no/such"}, "/no/such: no such file"),
    ({"kind": "file", "value": "/dev/null"}, "/dev/null is no file"),
    ({"kind": "command", "value": "echo no key >&2; exit 3"}, "exit code 3): no key"),
    ({"kind": "command", "value": "echo abc"}, "it has 3 bytes"),
    ({"kind": "command", "value": "echo"}, "it is empty"),
    ({"kind": "command", "value": "head -c 70000 /dev/zero"}, "it is larger than 64 KiB"),
    ({"kind": "credential", "value": "token"}, "CREDENTIALS_DIRECTORY is not set"),
    ({"kind": "age", "value": "no.age", "identity": "/id"}, "the source tree has no file no.age"),
]


@pytest.mark.parametrize(("source", "why"), MISSING)
async def test_a_missing_secret_is_refused_before_anything_starts(
    runner: Runner, source: dict[str, Any], why: str
) -> None:
    other = job("b", "touch ran")
    with pytest.raises(UsageError) as refused:
        await runner.run(job("a", secrets=[Secret(name="TOKEN", **source)]), other)
    assert refused.value.message.startswith("secret TOKEN of job a can't be had: ")
    assert why in refused.value.message
    assert not list((runner.state.root / "runs").glob("*"))


async def test_a_secret_of_a_job_that_is_not_run_may_be_missing(runner: Runner) -> None:
    lacks = job("a", secrets=[Secret(name="TOKEN", kind="env", value="NO_SUCH")])
    run = await runner.run(lacks, job("b"), jobs=frozenset({"b"}))
    assert run.record.status is Status.PASSED


async def test_a_secret_comes_from_each_source(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text(KEY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secrets = [
        Secret(name="FILE", kind="file", value=str(tmp_path / "file")),
        Secret(name="COMMAND", kind="command", value=f"cat {tmp_path}/file"),
        Secret(name="CREDENTIAL", kind="credential", value="file"),
    ]
    command = f"""
    sum() {{ sha256sum <"$1" | cut -c1-8; }}
    sum "$PIKACI_SECRET_FILE"; sum "$PIKACI_SECRET_CREDENTIAL"; sum "$PIKACI_SECRET_COMMAND"
    printf %s '{KEY.rstrip()}' | sha256sum | cut -c1-8
    """
    run = await runner.run(job("a", command, secrets=secrets))
    file, credential, printed, without_end = run.said("a")
    assert file == credential
    assert printed == without_end


async def test_a_host_without_namespaces_refuses_a_job_with_secrets(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def probe(*_: object) -> Confinement:
        return Confinement()

    monkeypatch.setattr("jerichoci.placement.work.probe", probe)
    row = (await runner.run(job("a", secrets=[SECRET]))).job("a")
    assert row.failure_kind is FailureKind.INFRASTRUCTURE
    assert "can't be given secrets" in (row.message or "")


def test_nothing_of_a_secret_is_left_when_the_orchestrator_is_killed(runner: Runner) -> None:
    command = 'cat "$PIKACI_SECRET_TOKEN"; touch "$PIKACI_ARTIFACTS/begun"; sleep 600'
    process = runner.start(job("a", command, secrets=[SECRET]))
    layout = runner.state.run(RUN_ID)
    wait_for((layout.attempt("a", 1) / "artifacts/files/begun").exists)
    kill_owner(process, layout)
    wait_for(lambda: "pikaci-secrets" not in all_mounts())
    assert files_with(runner.state.root, VALUE.encode()) == []


def all_mounts() -> str:
    """The mounts of all namespaces that there are."""
    found = ""
    for path in Path("/proc").glob("[0-9]*/mounts"):
        try:
            found += path.read_text()
        except OSError:
            continue
    return found

"""What a host says to the runner of guests that aren't Incus's."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from guest.guest import Guest

PATH = {"PATH": os.environ["PATH"]}


@pytest.fixture
def share(guest: Guest) -> Path:
    """A snapshot in another place than the workspace, which there isn't yet."""
    share = guest.snapshot.rename(guest.root / "a share")
    (guest.root / "workspace").rmdir()
    return share


def with_file(
    guest: Guest, text: str, environment: dict[str, str] = PATH, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """The host's exec, with a file of variables."""
    file = guest.root / "the variables.json"
    file.write_text(text)
    return guest.execute(environment, "--variables", str(file), *arguments)


def test_variables_may_all_be_in_a_file_and_go_over_the_execs_own(guest: Guest) -> None:
    env = json.dumps({"GREETING": "hé 'llo'\n"})
    values = guest.variables('echo "$GREETING"', ENV=env)
    done = with_file(guest, json.dumps(values), guest.variables("echo of the exec"))

    assert json.loads(done.stdout) == {"contract": 1, "state": "started"}, done.stderr
    assert guest.result()["status"] == "passed"
    assert guest.log() == "hé 'llo'\n\n"


def test_a_command_in_a_file_may_be_longer_than_the_kernel_takes(guest: Guest) -> None:
    command = f"echo {'x' * 60_000} {'y' * 60_000} | wc -c; : {'z' * 5_000}"
    with_file(guest, json.dumps(guest.variables(command)))

    assert guest.result()["status"] == "passed"
    assert guest.log() == "120002\n"


def test_a_job_that_is_waited_for_begins_when_its_file_and_all_its_mounts_are_there(
    guest: Guest,
) -> None:
    job, other = guest.artifacts / "job.json", guest.root / "other"
    other.mkdir()
    values = guest.variables("echo begun", MOUNTS=f"{guest.artifacts}:{other}")
    (guest.root / "values").write_text(json.dumps(values))
    steps = [
        f"mount --bind {other} {other}",
        f"cp {guest.root}/values {job}",
        f"mount --bind {guest.artifacts} {guest.artifacts}",
    ]
    after = "; ".join(f"sleep 0.1; echo {step!r} >> {guest.root}/done; {step}" for step in steps)
    done = guest.execute(PATH, "--wait", str(job), setup=f"({after}) > /dev/null 2>&1 &")

    assert json.loads(done.stdout) == {"contract": 1, "state": "started"}, done.stderr
    assert (guest.root / "done").read_text().count("mount") == 2
    assert guest.result()["status"] == "passed"
    assert guest.log() == "begun\n"


def test_a_shell_takes_its_terminal_from_the_file(guest: Guest) -> None:
    values = {**guest.variables("echo $TERM"), "TERM": "xterm-kitty"}
    done = with_file(guest, json.dumps(values), {**PATH, "TERM": "vt100"}, "--shell")

    assert (done.stdout, done.stderr) == ("xterm-kitty\n", "")


def test_a_file_of_something_else_or_none_is_refused(guest: Guest) -> None:
    for text in ("", "{", "[]", '{"PIKACI_INCUS_CONTRACT": 1}', '{"A=B": ""}'):
        done = with_file(guest, text, guest.variables("true"))
        assert done.returncode == 64
        assert "the variables.json" in done.stderr
    done = guest.execute(guest.variables("true"), "--variables", "/none")
    assert done.returncode == 64
    assert done.stderr == (
        "pikaci-incus-run: the variables can't be read: "
        "[Errno 2] No such file or directory: '/none'\n"
    )
    assert list(guest.artifacts.iterdir()) == []


def test_a_job_and_a_shell_are_of_the_user_that_is_named(guest: Guest) -> None:
    result = guest.run("id -un; id -g; echo $USER $LOGNAME $HOME; echo > new", USER="daemon")

    assert result["status"] == "passed", guest.log()
    assert guest.log() == "daemon\n1\ndaemon daemon /usr/sbin\n"
    done = guest.execute(guest.variables("id -un", USER="daemon"), "--shell")
    assert (done.stdout, done.stderr) == ("daemon\n", "")
    done = guest.execute(guest.variables("id -un", USER="daemon", RUN_AS_ROOT="1"), "--shell")
    assert (done.stdout, done.stderr) == ("root\n", "")


def test_a_user_whom_the_guest_does_not_have_is_an_error(guest: Guest) -> None:
    result = guest.run("true", USER="no such user")

    assert (result["status"], result["message"]) == (
        "error",
        "the guest has no user 'no such user'",
    )


def test_directories_may_come_first_in_path(guest: Guest) -> None:
    tools = guest.root / "my tools"
    tools.mkdir()
    (tools / "ls").write_text("#!/bin/sh\necho mine\n")
    (tools / "ls").chmod(0o755)
    guest.run("ls; echo $PATH", PATH=f"{tools}:/other")

    mine, path = guest.log().splitlines()
    assert mine == "mine"
    assert path.startswith(f"{tools}:/other:/run/wrappers/bin:")


@pytest.mark.parametrize(("as_root", "owner"), [("0", 1000), ("1", 0)])
def test_a_snapshot_elsewhere_is_copied_for_whom_the_job_runs_as(
    guest: Guest, share: Path, as_root: str, owner: int
) -> None:
    link = guest.root / "link"
    link.symlink_to(share)
    command = "pwd; echo more >> README; cat README; stat -c %u . README"
    result = guest.run(command, SNAPSHOT=str(link), RUN_AS_ROOT=as_root)

    assert result["status"] == "passed", guest.log()
    where = guest.root / "workspace" / "snapshot"
    assert guest.log() == f"{where}\nhello\nmore\n{owner}\n{owner}\n"
    assert guest.event("workspace_ready")["workspace"] == "copy"
    assert (where / "README").read_text() == "hello\nmore\n"
    assert (share / "README").read_text() == "hello\n"


def test_a_copy_takes_nothings_place(guest: Guest, share: Path) -> None:
    mine = guest.root / "workspace" / "snapshot" / "mine"
    mine.mkdir(parents=True)
    result = guest.run("true", SNAPSHOT=str(share))

    assert result["status"] == "error"
    assert "File exists" in result["message"]
    assert [path.name for path in mine.parent.iterdir()] == ["mine"]


def test_a_snapshot_that_is_not_there_is_one_to_try_again(guest: Guest, share: Path) -> None:
    gone = str(share / "gone")
    done = guest.execute(guest.variables("true", SNAPSHOT=gone), "--check-contract")

    assert (done.returncode, done.stderr) == (69, f"pikaci-incus-run: {gone} isn't there yet\n")


def test_a_snapshot_that_cannot_be_meant_is_refused(guest: Guest) -> None:
    elsewhere: dict[str, str] = {"SNAPSHOT": "/share", "WRITABLE_WORKSPACE": "0"}
    for variables, said in (
        ({"SNAPSHOT": "share"}, "PIKACI_INCUS_SNAPSHOT is 'share', not an absolute path"),
        (elsewhere, "a read-only workspace is where the snapshot is: no other is to be"),
    ):
        done = guest.execute(guest.variables("true", **variables))
        assert (done.returncode, done.stderr) == (64, f"pikaci-incus-run: {said}\n")
    assert list(guest.artifacts.iterdir()) == []

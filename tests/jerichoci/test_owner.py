from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jerichoci.state.owner import Owner, is_owned, owning, process_start

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_subprocess import FakeProcess

NO_PROC_PID = 2**22 + 1
"""More than Linux gives, so that /proc has none."""
PS = ["/bin/ps", "-o", "lstart=", "-p", str(NO_PROC_PID)]

OWN = """
import sys, pathlib
from jerichoci.state.owner import owning
with owning(pathlib.Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


def test_one_process_owns_a_directory_as_long_as_the_block_runs_and_is_named(
    tmp_path: Path,
) -> None:
    assert not is_owned(tmp_path)
    assert Owner.read(tmp_path / "owner.lock") is None
    with owning(tmp_path):
        assert is_owned(tmp_path)
        with pytest.raises(BlockingIOError), owning(tmp_path):
            pass
    assert not is_owned(tmp_path)
    owner = Owner.read(tmp_path / "owner.lock")
    assert owner == Owner(os.getpid(), process_start(os.getpid()))
    assert owner.is_alive()


def test_a_later_process_with_the_owners_pid_is_not_the_owner() -> None:
    assert not Owner(os.getpid(), "1").is_alive()


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")


@pytest.mark.usefixtures("mac")
def test_without_proc_a_later_process_with_the_owners_pid_is_not_the_owner(fp: FakeProcess) -> None:
    started = "Sat Jan 31 23:59:59 2026"
    fp.register(PS, stdout=f"{started}    \n", occurrences=2)
    assert process_start(NO_PROC_PID) == started
    assert Owner(NO_PROC_PID, started).is_alive()
    fp.register(PS, stdout="Sun Feb  1 00:00:00 2026    \n")
    assert not Owner(NO_PROC_PID, started).is_alive()


@pytest.mark.usefixtures("mac")
def test_without_proc_a_process_that_is_gone_is_not_the_owner(fp: FakeProcess) -> None:
    fp.register(PS, returncode=1)
    assert not Owner(NO_PROC_PID, "Sat Jan 31 23:59:59 2026").is_alive()


def test_a_damaged_lock_names_no_owner(tmp_path: Path) -> None:
    (tmp_path / "owner.lock").write_text("{}")
    assert Owner.read(tmp_path / "owner.lock") is None


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with owning(tmp_path):
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        assert child.poll() is None
        assert not is_owned(tmp_path)
    finally:
        child.kill()
        child.wait()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", OWN, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"owned\n"
        assert is_owned(tmp_path)
        process.kill()
        process.wait()
        assert not is_owned(tmp_path)
        owner = Owner.read(tmp_path / "owner.lock")
        assert owner
        assert not owner.is_alive()

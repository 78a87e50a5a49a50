"""The runner where nothing is Linux's: no /proc, no mounts, and system calls as macOS has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from guest.guest import RUNNER, Guest, processes_of

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534
BASE_PATH = "/opt/homebrew/bin:/opt/homebrew/sbin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
NO_PROC = "mount -t tmpfs tmpfs /proc"

REFUSES = 'raise PermissionError(errno.EPERM, "this is a share")'
# How this machine's Python becomes one of macOS, for the file that is its first argument.
MACOS = """
import errno, os, runpy, stat, subprocess, sys

NAMES = {}

def refuse(number):
    def call(*arguments, **others):
        raise OSError(number, os.strerror(number))
    return call

def fchown(fd, uid, gid, change=os.fchown):
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "this is a pipe")
    change(fd, uid, gid)

def chown(path, *owner, change=os.chown, **others):
    if "/artifacts" in os.fsdecode(path):
        raise PermissionError(errno.EPERM, "this is a share")
    change(path, *owner, **others)

def fsync(fd, sync=os.fsync):
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        raise OSError(errno.ENOTSUP, "this is a share")
    root = sys.argv[sys.argv.index("--root") + 1]
    with open(f"{root}/synced", "a") as file:
        print(os.path.relpath(NAMES.get(fd, ""), root), file=file)
    sync(fd)

def open_named(path, flags, *mode, really=os.open, **others):
    fd = really(path, flags, *mode, **others)
    NAMES[fd] = path
    return fd

def run_flaky(arguments, really=subprocess.run, tries=[], **others):
    done = really(arguments, **others)
    if arguments[0] == "cp" and os.path.exists(f"{others['cwd']}/flaky") and len(tries) < 3:
        tries.append(None)
        os.unlink(f"{others['cwd']}/flaky")
        done.returncode, done.stderr = 1, b"cp: flaky: No such file or directory"
    return done

sys.platform = "darwin"
sys.modules["ctypes"] = sys.modules["fcntl"] = None
os.setgroups = refuse(errno.EINVAL)  # more than sixteen
os.fchown, os.chown, os.fsync, os.open = fchown, chown, fsync, open_named
subprocess.run = run_flaky
del os.splice
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def mac(guest: Guest) -> Guest:
    guest.runner = [sys.executable, "-IS", "-c", MACOS, str(RUNNER)]
    # What the host has in the place of the workspace.
    guest.snapshot = guest.snapshot.rename(guest.root / "share")
    (guest.root / "workspace").rmdir()
    return guest


def start(mac: Guest, command: str, **others: str) -> None:
    variables = {"SNAPSHOT": str(mac.snapshot), "USER": "nobody", **others}
    mac.start(command, setup=NO_PROC, **variables)


def run(mac: Guest, command: str, **others: str) -> dict[str, object]:
    start(mac, command, **others)
    return mac.result()


def test_a_job_runs_in_a_copy_as_the_user_it_is_told(mac: Guest) -> None:
    result = run(mac, "pwd; id -un; echo more >> README; cat README; stat -c %U . README")

    assert result["status"] == "passed", mac.log()
    work = mac.root / "workspace" / "snapshot"
    assert mac.log() == f"{work}\nnobody\nhello\nmore\nnobody\nnobody\n"
    assert mac.event("workspace_ready")["workspace"] == "copy"
    assert (mac.snapshot / "README").read_text() == "hello\n"


def test_a_copy_is_whole(mac: Guest) -> None:
    (mac.snapshot / "big").write_bytes(os.urandom(3 * 1024 * 1024 + 5))
    (mac.snapshot / "empty").touch()
    (mac.snapshot / "link").symlink_to("big")
    (mac.snapshot / "run").write_text("#!/bin/sh\n")
    (mac.snapshot / "run").chmod(0o555)
    os.utime(mac.snapshot / "run", ns=(1, 1_000_000_001))
    run(mac, "true")

    copy = mac.root / "workspace" / "snapshot"
    names = sorted(path.name for path in copy.iterdir())
    assert names == ["README", "big", "empty", "link", "run"]
    assert (copy / "big").read_bytes() == (mac.snapshot / "big").read_bytes()
    assert (copy / "empty").read_bytes() == b""
    assert (copy / "link").readlink() == (mac.snapshot / "link").readlink()
    status = (copy / "run").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o555, 1_000_000_001)


def test_a_file_that_a_share_loses_sight_of_is_looked_for_again(mac: Guest) -> None:
    (mac.snapshot / "flaky").write_text("found\n")
    assert run(mac, "cat flaky")["status"] == "passed"
    assert mac.log() == "found\n"


def test_what_it_leaves_is_with_the_host_before_the_result(mac: Guest) -> None:
    run(mac, "echo said; mkdir $PIKACI_ARTIFACTS/d; echo left > $PIKACI_ARTIFACTS/d/x")
    *before, result = (mac.root / "synced").read_text().splitlines()
    assert {"artifacts/guest.log", "artifacts/files/d/x"} <= set(before)
    assert result == "artifacts/.result.json.tmp"


def test_a_read_only_workspace_is_the_share_itself(mac: Guest) -> None:
    link_workspace(mac)
    result = run(mac, "pwd; cat README", SNAPSHOT="", WRITABLE_WORKSPACE="0")

    assert result["status"] == "passed", mac.log()
    assert mac.log() == f"{mac.root}/workspace/snapshot\nhello\n"
    assert mac.event("workspace_ready")["workspace"] == "read_only"


def test_what_would_need_a_mount_is_an_error_with_a_sentence(mac: Guest) -> None:
    link_workspace(mac)
    result = run(mac, "true", SNAPSHOT="", RUN_AS_ROOT="1")

    assert result["status"] == "error"
    assert str(result["message"]).startswith("darwin can't mount anything at ")


def test_the_environment_is_a_macs(mac: Guest) -> None:
    run(mac, "echo $PATH; echo $LANG; echo $HOME $USER $SHELL")

    path, language, who = mac.log().splitlines()
    assert path == BASE_PATH
    assert language == "en_US.UTF-8"
    assert who == "/nonexistent nobody /usr/bin/bash"


@pytest.mark.parametrize("way", [REFUSES, "return"])
def test_a_share_that_keeps_its_owners_can_be_written_to(mac: Guest, way: str) -> None:
    assert REFUSES in MACOS
    mac.runner = [sys.executable, "-IS", "-c", MACOS.replace(REFUSES, way), str(RUNNER)]
    result = run(mac, "echo file > $PIKACI_ARTIFACTS/file; echo > $PIKACI_ARTIFACTS/../result.json")

    assert result["status"] == "failed"
    files = mac.artifacts / "files"
    assert files.stat().st_uid == 0
    assert (files / "file").read_text() == "file\n"
    assert (files / "file").stat().st_uid == NOBODY


def test_a_share_whose_owner_is_the_jobs_user_stays_closed(mac: Guest) -> None:
    files = mac.artifacts / "files"
    files.mkdir(mode=0o755)
    os.chown(files, NOBODY, NOBODY)
    result = run(mac, "echo file > $PIKACI_ARTIFACTS/file")

    assert result["status"] == "passed", mac.log()
    assert files.stat().st_mode & 0o777 == 0o755


def test_a_lot_is_printed_whole(mac: Guest) -> None:
    run(mac, "seq 200000; echo to the end >&2")

    assert mac.log() == "".join(f"{n}\n" for n in range(1, 200_001)) + "to the end\n"


@pytest.mark.parametrize(("last", "status"), [("sleep 61 # {}", "timed_out"), ("", "passed")])
def test_what_a_job_leaves_in_its_group_ends_with_it(
    mac: Guest, marker: str, last: str, status: str
) -> None:
    command = f"sh -c 'sleep 61 # {marker}; :' & {last.format(marker)}"

    assert run(mac, command, TIMEOUT_SECS="1" if last else "60")["status"] == status
    assert processes_of(marker) == []


def test_a_host_can_have_a_job_end_in_order(mac: Guest) -> None:
    start(mac, "trap 'echo bye; exit 7' TERM; echo up; sleep 60 & wait")
    wait_for(lambda: mac.log() == "up\n")
    done = mac.execute({"PIKACI_INCUS_CONTRACT": "1"}, "--stop")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mac.result()["message"] == "the runner was told to stop"
    assert mac.log() == "up\nbye\n"


def test_a_shell_runs_as_the_job_did(mac: Guest, tmp_path: Path) -> None:
    told = "id -un; pwd; env | grep -vE '^(PWD|SHLVL|_|TERM|PS1)=' | sort"
    run(mac, told)
    file = tmp_path / "shell.json"
    values = mac.variables(told, USER="nobody", SNAPSHOT=str(mac.snapshot))
    file.write_text(json.dumps(values))
    environment = {"PATH": os.environ["PATH"]}
    done = mac.execute(environment, "--variables", str(file), "--shell", setup=NO_PROC)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == mac.log()


def test_python_3_9_is_enough() -> None:
    # os.splice is newer, and taken only where it is.
    vermin = ["vermin", "--no-tips", "--exclude", "os.splice", "--target=3.9-"]
    done = subprocess.run([*vermin, RUNNER], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def link_workspace(mac: Guest) -> None:
    (mac.root / "workspace").mkdir()
    (mac.root / "workspace" / "snapshot").symlink_to(mac.snapshot)

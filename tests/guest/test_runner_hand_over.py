"""Giving what a job left to the host's user: links and the like lead nowhere else."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

from deep import nest

if TYPE_CHECKING:
    from pathlib import Path

    from guest.guest import Guest

OWNER = 4321, 1234


def test_all_that_a_job_left_is_the_users(guest: Guest) -> None:
    job = "umask 077; cd $PIKACI_ARTIFACTS; mkdir -p a/b; echo x > a/b/c; chmod 0 a/b/c a/b a"
    guest.run(job)
    done = hand_over(guest)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {owner(path) for path in below(guest.artifacts)} == {OWNER}
    names = {str(path.relative_to(guest.artifacts)) for path in below(guest.artifacts)}
    assert {"guest.log", "result.json", "events.jsonl", "files", "files/a/b/c"} <= names
    as_owner = ["setpriv", "--reuid=4321", "--regid=1234", "--clear-groups"]
    read = ["cat", f"{guest.artifacts}/files/a/b/c"]
    delete = ["find", str(guest.artifacts), "-mindepth", "1", "-delete"]
    for command in (read, delete):
        subprocess.run([*as_owner, *command], check=True, timeout=30)


def test_no_link_is_followed_and_no_pipe_or_device_opened(guest: Guest) -> None:
    outside = guest.root / "outside"
    (outside / "directory").mkdir(parents=True)
    (outside / "file").touch()
    for name in ("file", "directory"):
        (guest.artifacts / name).symlink_to(outside / name)
    (guest.artifacts / "dangling").symlink_to("nowhere")
    (guest.artifacts / "loop").symlink_to(".")
    (guest.artifacts / "\udcff\n").touch()  # a name that is no text
    os.mkfifo(guest.artifacts / "pipe")
    os.mknod(guest.artifacts / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))

    assert hand_over(guest).returncode == 0
    assert {owner(path) for path in below(outside)} == {(0, 0)}
    assert {owner(path) for path in below(guest.artifacts)} == {OWNER}


def test_artifacts_that_are_a_link_are_refused(guest: Guest) -> None:
    outside = guest.root / "outside"
    outside.mkdir()
    guest.artifacts.rmdir()
    guest.artifacts.symlink_to(outside)
    done = hand_over(guest)

    assert done.returncode == 73
    assert done.stderr.startswith(f"pikaci-incus-run: {guest.artifacts} can't be handed over: ")
    assert owner(outside) == (0, 0)


def test_a_file_that_would_run_as_its_owner_does_not_any_more(guest: Guest) -> None:
    (guest.artifacts / "directory").mkdir()
    (guest.artifacts / "directory").chmod(0o7777)
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2644), ("sticky", 0o1200)):
        (guest.artifacts / name).touch()
        (guest.artifacts / name).chmod(mode)

    assert hand_over(guest).returncode == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in guest.artifacts.iterdir()}
    assert modes == {"directory": 0o777, "setuid": 0o755, "setgid": 0o644, "sticky": 0o600}


def test_directories_may_be_nested_as_deep_as_a_job_likes(guest: Guest) -> None:
    nest(guest.artifacts, 5000)
    done = hand_over(guest)

    assert (done.returncode, done.stderr) == (0, "")
    find = ["find", str(guest.artifacts), "-not", "-uid", "4321"]
    left = subprocess.run(find, capture_output=True, check=True, timeout=30)
    assert left.stdout == b""


def test_other_file_systems_are_left_alone(guest: Guest) -> None:
    (guest.artifacts / "mounted").mkdir()
    mount = f"mount -t tmpfs tmpfs {guest.artifacts}/mounted; touch {guest.artifacts}/mounted/file"
    look = f'{mount}\n"$@"\nstat -c %u {guest.artifacts}/mounted/file\nexit'
    done = guest.execute(contract(), "--hand-over", "4321:1234", setup=look)

    assert (done.returncode, done.stdout) == (0, "0\n")


def test_a_container_hands_over_likewise(guest: Guest) -> None:
    (guest.artifacts / "closed").mkdir(mode=0)
    done = guest.execute_in_a_user_namespace(contract(), "--hand-over", "{}:{}".format(*OWNER))

    assert (done.returncode, done.stderr) == (0, "")
    assert {owner(path) for path in below(guest.artifacts)} == {OWNER}


def test_what_cannot_be_given_is_named(guest: Guest) -> None:
    (guest.artifacts / "file").touch()
    done = guest.execute_in_a_user_namespace(contract(), "--hand-over", "70000:0")

    assert done.returncode == 73
    start = f"pikaci-incus-run: {guest.artifacts} can't be handed over: chown: "
    assert done.stderr.startswith(start)
    assert "Invalid argument" in done.stderr


def test_an_owner_in_another_form_is_refused(guest: Guest) -> None:
    for text in ("", "1", "1:", ":1", "1:2:3", "-1:0", "a:b", "²:1", f"{2**32 - 1}:0"):
        done = guest.execute(contract(), "--hand-over", text)
        sentence = f"pikaci-incus-run: --hand-over has {text!r}, not UID:GID in numbers\n"
        assert (done.returncode, done.stderr) == (64, sentence)


def hand_over(guest: Guest) -> subprocess.CompletedProcess[str]:
    return guest.execute(contract(), "--hand-over", "{}:{}".format(*OWNER))


def contract() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PIKACI_INCUS_CONTRACT": "1"}


def below(directory: Path) -> list[Path]:
    return [directory, *directory.rglob("*")]


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid

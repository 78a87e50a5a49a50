"""What a job may write where it works, and that the snapshot is as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from guest.guest import Guest

ROOT, NOBODY, SOMEBODY = 0, 65534, 1001


def test_the_workspace_can_be_written_and_the_snapshot_is_not(guest: Guest) -> None:
    result = guest.run("pwd; echo more >> README; mkdir new; cat README; stat -c %u .")

    assert result["status"] == "passed"
    assert guest.log() == f"{guest.snapshot}\nhello\nmore\n1000\n"
    assert [path.name for path in guest.snapshot.iterdir()] == ["README"]
    assert (guest.snapshot / "README").read_text() == "hello\n"
    assert guest.event("workspace_ready")["workspace"] == "overlay"


@pytest.mark.parametrize("owner", [ROOT, SOMEBODY])
def test_the_workspace_of_a_root_job_can_be_written(guest: Guest, owner: int) -> None:
    own(guest.snapshot, owner)

    assert guest.run("rm README && mkdir README", RUN_AS_ROOT="1")["status"] == "passed"
    assert (guest.snapshot / "README").is_file()
    assert guest.event("workspace_ready")["workspace"] == "overlay"


@pytest.mark.parametrize("owner", [ROOT, SOMEBODY])
def test_the_workspace_can_be_read_only(guest: Guest, owner: int) -> None:
    own(guest.snapshot, owner)
    result = guest.run("echo > README", WRITABLE_WORKSPACE="0", RUN_AS_ROOT="1")

    assert result["status"] == "failed"
    assert "Read-only file system" in guest.log()
    assert guest.event("workspace_ready")["workspace"] == "read_only"


def test_a_guest_whose_disk_carries_no_overlay_has_it_in_memory(guest: Guest) -> None:
    disk = guest.root / "var" / "lib" / "pikaci"
    for directory in (disk, *(guest.root / name for name in ("lower", "upper", "work"))):
        directory.mkdir(parents=True)
    options = "lowerdir=lower,upperdir=upper,workdir=work"
    # What is an overlay can't be the upper directory of another.
    result = guest.run(
        "echo > new", setup=f"cd {guest.root}; mount -t overlay -o {options} overlay {disk}"
    )

    assert result["status"] == "passed"
    assert guest.event("workspace_ready")["workspace"] == "overlay_in_memory"


def test_in_a_user_namespace_as_containers_have_a_directory_can_be_replaced(guest: Guest) -> None:
    (guest.snapshot / "src").mkdir()
    (guest.snapshot / "src" / "old").touch()
    own(guest.snapshot, 1000)
    env = guest.variables("rm -r src && mkdir src && ls src && id -u")
    guest.execute_in_a_user_namespace(env)

    assert guest.result()["status"] == "passed"
    assert guest.event("workspace_ready")["workspace"] == "overlay"
    assert guest.log() == "1000\n"


@pytest.mark.parametrize("owner", [ROOT, NOBODY])
def test_a_snapshot_of_another_users_is_copied(guest: Guest, owner: int) -> None:
    (guest.snapshot / "src" / "deep").mkdir(parents=True)
    (guest.snapshot / "src" / "deep" / "file").write_text("deep\n")
    own(guest.snapshot, owner)
    work = "pwd; echo more >> README; cat README; rm -r src; mkdir src new; ls -A; stat -c %u . src"
    result = guest.run(f"set -e; {work}")

    assert result["status"] == "passed", guest.log()
    assert guest.log() == f"{guest.snapshot}\nhello\nmore\nREADME\nnew\nsrc\n1000\n1000\n"
    assert guest.event("workspace_ready")["workspace"] == "copy"
    assert (guest.snapshot / "README").read_text() == "hello\n"
    assert (guest.snapshot / "src" / "deep" / "file").read_text() == "deep\n"


def test_a_copy_has_what_the_snapshot_has(guest: Guest) -> None:
    (guest.snapshot / "README").chmod(0o444)
    (guest.snapshot / "run").write_text("#!/bin/sh\n")
    (guest.snapshot / "run").chmod(0o755)
    (guest.snapshot / "twin").hardlink_to(guest.snapshot / "run")
    (guest.snapshot / "empty").touch()
    (guest.snapshot / "big").write_bytes(os.urandom(3 * 1024 * 1024))
    (guest.snapshot / "to-file").symlink_to("README")
    (guest.snapshot / "to-nothing").symlink_to("/nowhere/at all")
    (guest.snapshot / "to-directory").symlink_to("closed")
    (guest.snapshot / "closed").mkdir()
    (guest.snapshot / "closed" / "file").write_text("x")
    (guest.snapshot / "closed").chmod(0o555)
    guest.snapshot.chmod(0o555)
    for index, path in enumerate(sorted(guest.snapshot.rglob("*"))):
        os.utime(path, (1, 1_000_000_000 + index), follow_symlinks=False)
    own(guest.snapshot, ROOT)
    before = look(guest.snapshot)
    result = guest.run("touch new && rm new; cp -a . $PIKACI_ARTIFACTS/copy")

    assert result["status"] == "passed", guest.log()
    after = look(guest.artifacts / "files" / "copy")
    assert {path: values[1:] for path, values in after.items()} == {
        path: values[1:] for path, values in before.items()
    }
    assert {values[0] for values in after.values()} == {(1000, 100)}
    assert look(guest.snapshot) == before


def test_a_copy_has_names_that_are_no_text(guest: Guest) -> None:
    names = [b"\xff\xfe", "ü€".encode(), b"a\nb", b"-rf", b" ", b'"', b"\\", b"x" * 255]
    for name in names:
        Path(os.fsdecode(os.fsencode(guest.snapshot) + b"/" + name)).write_bytes(name)
    own(guest.snapshot, ROOT)
    guest.run(
        'rm README; for file in *; do cmp -- <(printf %s "$file") ./"$file"; done; ls | wc -l'
    )

    assert guest.log() == f"{len(names) + 1}\n"
    assert guest.event("workspace_ready")["workspace"] == "copy"


def test_a_copy_has_paths_as_long_as_the_snapshots(guest: Guest) -> None:
    # In the copy's own place, whose name is longer, they would be longer than the kernel takes.
    length = os.pathconf("/", "PC_PATH_MAX") - len(f"{guest.snapshot}/./file") - 1
    names, rest = length // 201, length - 1
    directory = Path(guest.snapshot, *["d" * 200] * names, "e" * (rest - names * 201))
    directory.mkdir(parents=True)
    (directory / "file").write_text("deep\n")
    own(guest.snapshot, ROOT)
    result = guest.run("find . -name file -execdir cat {} +; find . -type d | wc -l")

    assert result["status"] == "passed", result
    assert guest.log() == f"deep\n{names + 2}\n"


def test_a_full_disk_is_an_error_with_a_sentence(guest: Guest) -> None:
    disk = guest.root / "var" / "lib" / "pikaci"
    disk.mkdir(parents=True)
    (guest.snapshot / "big").write_bytes(b"x" * 2_000_000)
    own(guest.snapshot, ROOT)
    result = guest.run("true", setup=f"mount -t tmpfs -o size=1m tmpfs {disk}")

    assert (result["status"], result["exit_code"]) == ("error", None)
    where = disk / "workspace" / "copy"
    assert result["message"] == (
        f"the guest's disk has no room for a copy of the snapshot at {where}"
    )
    assert "command_started" not in {event["event"] for event in guest.events()}


def test_in_a_user_namespace_a_snapshot_of_no_user_of_it_is_copied(guest: Guest) -> None:
    # Beyond the users of the namespace, as all is in a mount that isn't shifted.
    own(guest.snapshot, 100_000)
    guest.execute_in_a_user_namespace(guest.variables("echo more >> README; cat README; mkdir new"))

    assert guest.result()["status"] == "passed"
    assert guest.log() == "hello\nmore\n"
    assert guest.event("workspace_ready")["workspace"] == "copy"


def test_in_a_user_namespace_what_cannot_be_read_is_named(guest: Guest) -> None:
    own(guest.snapshot, 100_000)
    (guest.snapshot / "README").chmod(0o600)
    guest.execute_in_a_user_namespace(guest.variables("cat README"))

    result = guest.result()
    assert result["status"] == "error"
    assert "copy: cp: cannot open " in result["message"]
    assert result["message"].endswith("README' for reading: Permission denied")


def own(directory: Path, user: int) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def look(directory: Path) -> dict[str, tuple[object, ...]]:
    """Owner, mode, time and content of all below a directory."""
    found: dict[str, tuple[object, ...]] = {}
    for path in directory.rglob("*"):
        status = path.lstat()
        content: bytes | Path | None = None
        if stat.S_ISLNK(status.st_mode):
            content = path.readlink()
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        owner = status.st_uid, status.st_gid
        name = str(path.relative_to(directory))
        found[name] = owner, status.st_mode, status.st_mtime_ns, content
    return found

"""Commands about guests and images of a remote host's Incus, as a user gives them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, wait_for
from e2e.terminal import TerminalSession
from guest_images import write_image
from incus.guest_project import make_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from incus.server import IncusServer
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

TARGETS = """
  t = {
    prepare.stored.drv = build "stored" "echo from the store > $out";
    jobs.it = {
      runtime = "incus"; incus.role = "runner"; placement = "remote_ssh"; host = "@host@";
      timeoutSecs = 60; needs = [ "stored" ]; env.STATED = "yes";
      command = "echo made > made; exit 3";
    };
  };
"""


@pytest.fixture
def project(
    far_host: FarHost, far_incus: IncusServer, hosts_config: WriteHosts, tmp_path: Path
) -> Project:
    """A project on a machine without Incus, whose job is in a guest of the host's."""
    config = hosts_config(far_host, incus={"socket": str(far_incus.socket)}).parent.parent
    made = make_project(tmp_path, far_incus, TARGETS.replace("@host@", far_host.name))
    nowhere = str(tmp_path / "no-incus")
    return made.with_env(XDG_CONFIG_HOME=str(config), INCUS_DIR=nowhere, INCUS_SOCKET=nowhere)


def guest_of(project: Project) -> str:
    name: str = project.record()["jobs"][0]["execution"]["instance"]
    return name


def shell(
    project: Project, *command: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        project.argv("shell", "latest", "it", *(("--", *command) if command else ())),
        cwd=project.root,
        env=project.env(),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )


def sleeps(project: Project, incus: IncusServer) -> bool:
    """Whether there is the program in the guest that a shell was asked to run."""
    argv = ["incus", "exec", guest_of(project), "--", "pgrep", "-f", "[s]leep 98765"]
    return incus._run(*argv).returncode == 0


def on_terminal(project: Project) -> TerminalSession:
    return TerminalSession(project.argv("shell", "latest", "it"), project.root, project.env())


# Shells in guests that were kept


def test_a_kept_guest_stays_there_with_its_files_and_labels_and_has_shells_until_it_is_gone(
    project: Project, far_host: FarHost, far_incus: IncusServer
) -> None:
    assert project.here("run", "t", "--keep", "on-failure").code == 1
    (row,) = json.loads(far_incus.incus("list", "--format=json"))
    assert (row["name"], row["status"]) == (guest_of(project), "Running")
    labels = {key: row["config"].get(f"user.pikaci.{key}") for key in ("run_id", "job_id", "owner")}
    owner = (project.state / "owner-id").read_text().strip()
    assert labels == {"run_id": project.record()["run_id"], "job_id": "it", "owner": owner}
    left = float(row["config"]["user.pikaci.expires"]) - time.time()
    assert 23 * 3600 < left < 24 * 3600 + 1
    name = f"{guest_of(project)}.json"
    note = json.loads((project.state / "elsewhere" / "incus" / name).read_bytes())
    assert (note["host"], note["socket"]) == (far_host.name, str(far_incus.socket))
    (run,) = (far_host.work_dir / "runs").iterdir()
    assert (run / "kept").exists()
    assert (run / "scratch" / "it-1" / "artifacts").is_dir()

    # A shell is where the job was.
    with on_terminal(project) as screen:
        screen.wait_for("it$ ")
        screen.type("id -un; pwd; cat made README $PIKACI_INPUT_STORED; echo $((40 + 2)) $STATED\n")
        screen.wait_for("42 yes")
        screen.type("exit 5\n")
        assert screen.wait() == 5
        shown = screen.text.splitlines()
    assert {"pikaci", "/workspace/snapshot", "made", "hello", "from the store"} <= set(shown)
    # Commands and bytes pass as they are.
    done = shell(project, stdin=b"cat made; echo err >&2; exit 5\n")
    assert (done.returncode, done.stdout, done.stderr) == (5, b"made\n", b"err\n")
    data = bytes(range(256)) * 40_000
    assert shell(project, "cat", stdin=data).stdout == data
    done = shell(project, "sh", "-c", "kill -TERM $$")
    assert done.returncode == 143
    # What runs in a shell ends with one that is killed.
    process = project.start("shell", "latest", "it", "--", "sleep", "98765")
    wait_for(lambda: sleeps(project, far_incus))
    process.kill()
    finish(process)
    wait_for(lambda: not sleeps(project, far_incus))
    # A shell ends with its connection, and there is none without Incus or a guest.
    with on_terminal(project) as screen:
        screen.wait_for("it$ ")
        far_host.kill_sessions()
        assert screen.wait() == 75
        assert "pikaci: the connection to the guest broke" in screen.text
    far_incus.stop()
    try:
        assert "there is no socket" in project.here("shell", "latest", "it").refused()
    finally:
        far_incus.start()
    assert shell(project, "cat", "made").stdout == b"made\n"
    far_incus.incus("delete", "--force", guest_of(project))
    assert "is gone; to keep another one: `" in project.here("shell", "latest", "it").refused()


def test_a_run_that_is_cancelled_keeps_no_guest(project: Project, far_incus: IncusServer) -> None:
    definitions = project.root / "targets.nix"
    definitions.write_text(definitions.read_text().replace("exit 3", "sleep 600"))
    running = project.start("run", "t", "--wait-removal", "--keep", "on-failure")
    wait_for(far_incus.instances)
    running.send_signal(signal.SIGINT)
    assert finish(running).code == 130
    assert far_incus.instances() == []
    refused = project.here("shell", "latest", "it").refused()
    assert "did not keep the guest of it" in refused
    assert "--keep always" in refused


# Images


@pytest.fixture
def alias(far_incus: IncusServer) -> Iterator[str]:
    """An alias of the test's own."""
    name = "pikaci/imported"
    yield name
    rows = json.loads(far_incus.incus("image", "list", "--format=json"))
    for row in rows:
        if name in {entry["name"] for entry in row["aliases"]}:
            far_incus.incus("image", "delete", row["fingerprint"])


def test_an_image_is_imported_and_listed_there_and_nowhere_else(
    project: Project, alias: str, far_host: FarHost, tmp_path: Path
) -> None:
    files = write_image(tmp_path / "image", os.urandom(4).hex())
    argv = ["image", "import", "--alias", alias, "--from", str(files), "--host", far_host.name]
    done = project.here(*argv).passed()
    assert f"of Incus on {far_host.name}" in done.err
    assert "had already" in project.here(*argv).passed().err
    rows = project.here("image", "list", "--host", far_host.name, "--json").passed().json
    (row,) = [row for row in rows if row["alias"] == alias]
    assert row["fingerprint"] == done.out.strip()
    assert [row["role"] for row in rows if row["alias"] == "pikaci/dev"] == ["runner"]
    assert "can't be reached" in project.here("image", "list").refused(75)
    refused = project.here("image", "list", "--host", "nobody").refused()
    assert "no host `nobody` is in" in refused
    assert far_host.name in refused

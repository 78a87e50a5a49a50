from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from e2e.project import HELLO, Project
from jerichoci.exit_codes import EXIT_INFRASTRUCTURE, EXIT_USAGE
from jerichoci.machine.system import own_system
from jerichoci.plan.hosts import HostCapacity
from pikaci.__main__ import run
from pikaci.doctor.catalog import FlakeNeeds
from pikaci.doctor.host import Clock, capacity_finding, clock_finding
from pikaci.images import RoleImage
from plans import RUN_ID
from remote.agent_alone import until
from remote.away import away
from remote.far_host import FarHost, one_far_host
from remote.looked_at import findings_of, nothing_runs, other_user
from remote.machine import SYSTEM_PATH, wait_for
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

    from incus.server import IncusServer
    from remote.conftest import WriteHosts
    from runner import Runner

STARTED_SECS = 30.0
LISTEN = """
import signal, socket, sys
link = socket.socket(socket.AF_UNIX)
link.bind(sys.argv[1])
link.listen()
signal.pause()
"""
IMAGES = (RoleImage("dev", "pikaci/nothing", "container", "x86_64-linux"),)
NAMES = [
    "connection",
    "round trip",
    "agent",
    "work dir",
    "snapshots",
    "runs",
    "programs",
    "channels",
    "processes",
    "workspaces",
    "memory",
    "setpriv",
    "nix",
    "nix store",
    "clock",
    "capacity",
    "incus",
]


@pytest.fixture
def host(far_host: FarHost, hosts_config: WriteHosts) -> FarHost:
    """A host that the hosts file has, without Incus."""
    hosts_config(far_host, incus={"socket": "/nonexistent"})
    return far_host


async def test_a_host_that_is_as_it_should_be_and_is_no_worse_for_a_look(
    runner: Runner, host: FarHost
) -> None:
    assert list(await findings_of(runner, host)) == NAMES
    await runner.run(away("job", "true", host))
    found = await findings_of(runner, host)
    assert list(found) == NAMES
    # Whether jobs' memory can be limited is up to this machine's cgroups.
    assert [name for name in NAMES if found[name].status != "ok" and name != "memory"] == ["incus"]
    assert found["snapshots"].text == "1, 0 MiB"
    assert found["runs"].text == "none now"
    assert found["clock"].text == "as here"
    assert f"free at {host.work_dir}" in found["work dir"].text
    nothing_runs(host)
    assert list((host.work_dir / "runs").iterdir()) == []
    assert list((host.work_dir / "sessions").iterdir()) == []
    assert list((runner.state.root / "elsewhere" / "hosts").glob("*.json")) == []


async def test_what_runs_there_is_named(runner: Runner, host: FarHost) -> None:
    job = away("job", "touch $PIKACI_ARTIFACTS/on; sleep 60", host)
    running = asyncio.create_task(runner.run(job, run_id=RUN_ID))
    try:
        await until(lambda: bool(list(host.work_dir.glob("runs/*/scratch/*/artifacts/on"))))
        found = await findings_of(runner, host)
    finally:
        runner.state.run(RUN_ID).cancel_request.touch()
        await running
    assert found["runs"].text.startswith(f"now: {RUN_ID}--")


async def test_a_host_without_nix_or_with_an_old_one_will_do_for_most(
    runner: Runner, hosts_config: WriteHosts
) -> None:
    with one_far_host("bare", environment={"PATH": SYSTEM_PATH}) as bare:
        hosts_config(bare)
        without = (await findings_of(runner, bare))["nix"]
        programs = bare.home / "nix"
        programs.mkdir()
        for name in ("nix", "nix-daemon"):
            (programs / name).write_text(f"#!/bin/sh\necho '{name} (Nix) 2.8.0'\n")
            (programs / name).chmod(0o755)
        hosts_config(bare, search_path=[str(programs)])
        old = (await findings_of(runner, bare))["nix"]
    assert (without.status, without.text) == ("note", "host bare has no `nix` on its PATH")
    assert without.hint == (
        "install Nix there, or name its directory in `search_path` of [hosts.bare]"
    )
    assert (old.status, old.text) == ("note", "host bare: Nix 2.8.0 is too old")
    assert old.hint == "pikaci needs 2.18 or later"


async def test_a_store_that_does_not_answer_is_told(
    runner: Runner, hosts_config: WriteHosts
) -> None:
    with one_far_host("shut", environment={"NIX_REMOTE": "unix:///nowhere/socket"}) as shut:
        hosts_config(shut)
        found = await findings_of(runner, shut)
    assert found["nix store"].status == "note"
    assert "the store of shut does not answer" in found["nix store"].text


async def test_less_confinement_is_told(runner: Runner, hosts_config: WriteHosts) -> None:
    with one_far_host("loose") as loose:
        for name in ("unshare", "setpriv"):
            loose.run(["mount", "--bind", "/dev/null", f"/usr/bin/{name}"])
        loose.run(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup"])
        hosts_config(loose)
        found = await findings_of(runner, loose)
        ended = await runner.run(away("job", "cat README", loose))
    for name in ("processes", "workspaces", "memory", "setpriv"):
        assert found[name].status == "note"
    # sshd starts the agent.
    assert found["memory"].hint == "log in as root where control groups can be written to"
    assert ended.job("job").attempts[0].execution["processes"] == "process_group"


# --- Incus ---


async def test_a_host_that_has_less_than_is_said_or_no_incus_for_guests(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host, capacity={"cpus": 4096}, incus={"socket": "/nowhere/incus"})
    found = await findings_of(runner, far_host, FlakeNeeds(IMAGES))
    assert found["capacity"].status == "note"
    assert "promises 4096 CPUs; it has" in found["capacity"].text
    assert found["incus"].status == "note"
    assert found["incus"].text == (
        f"{far_host.name} has no Incus: there is no socket /nowhere/incus"
    )


async def test_an_incus_that_is_not_running(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    socket = far_host.work_dir / "incus"
    far_host.run(
        ["python3", "-c", f"import socket; socket.socket(socket.AF_UNIX).bind({str(socket)!r})"]
    )
    hosts_config(far_host, incus={"socket": str(socket)})
    assert (await findings_of(runner, far_host))["incus"].status == "note"
    found = await findings_of(runner, far_host, FlakeNeeds(IMAGES))
    assert found["incus"].status == "bad"
    assert found["incus"].text == (
        f"Incus on {far_host.name} is not running: {socket} refuses connections"
    )


async def test_an_incus_that_has_not_what_the_catalog_names(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, far_incus: IncusServer
) -> None:
    site = {"socket": str(far_incus.socket), "project": "nowhere"}
    hosts_config(far_host, incus=site)
    found = await findings_of(runner, far_host, FlakeNeeds(IMAGES))
    assert found["incus"].status == "ok"
    assert found["incus project"].status == "bad"
    assert found["incus project"].text == f"Incus on {far_host.name} has no project nowhere"
    hosts_config(far_host, incus=site | {"project": far_incus.project, "profile": "nothing"})
    found = await findings_of(runner, far_host, FlakeNeeds(IMAGES))
    assert "has no profile nothing" in found["incus profile"].text
    hosts_config(far_host, incus=site | {"project": far_incus.project})
    found = await findings_of(runner, far_host, FlakeNeeds(IMAGES))
    assert found["incus profile"].status == "ok"
    assert found["image dev"].status == "bad"
    assert "has no image pikaci/nothing (role dev, container)" in found["image dev"].text
    assert f"pikaci image import dev --host {far_host.name}" in str(found["image dev"].hint)


@pytest.mark.parametrize("is_ours", [True, False])
async def test_an_incus_that_lets_others_in_only(
    runner: Runner, hosts_config: WriteHosts, *, is_ours: bool
) -> None:
    with one_far_host("plain", sshd_options=["AllowStreamLocalForwarding no"]) as plain:
        other = other_user(plain)
        socket = plain.home / "incus"
        # In the background there, until the host ends.
        plain.run(["sh", "-c", 'python3 -c "$1" "$2" >/dev/null 2>&1 &', "sh", LISTEN, str(socket)])
        wait_for(socket.exists, STARTED_SECS, "nobody listens")
        socket.chmod(0o666 if is_ours else 0o600)
        hosts_config(plain, user=other, incus={"socket": str(socket)})
        found = await findings_of(runner, plain, FlakeNeeds(IMAGES))
    assert found["incus"].status == "bad"
    assert found["incus"].text == (
        f"sshd on plain refuses to forward the socket {socket}"
        if is_ours
        else f"no permission to use Incus on plain: {socket}"
    )


# --- The command ---


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run `pikaci doctor`; its exit code, stdout and stderr."""
    code = run(["doctor", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is in no flake, and records of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "records"))


@pytest.mark.usefixtures("outside")
def test_every_host_that_is_named_has_its_table(
    two_far_hosts: list[FarHost], hosts_config: WriteHosts, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts_config(*two_far_hosts)
    code, out, _ = doctor(capsys, "--host", "far1", "--host", "far2")
    assert code == 0
    assert [line for line in out.splitlines() if line.endswith(":")] == ["far1:", "far2:"]
    assert "state root" not in out


@pytest.mark.usefixtures("outside")
def test_a_host_that_is_bad_is_in_the_exit_code_and_in_json(
    two_far_hosts: list[FarHost], hosts_config: WriteHosts, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts_config(*two_far_hosts)
    two_far_hosts[1].stop_sshd()
    code, out, _ = doctor(capsys, "--json", "--host", "far1", "--host", "far2")
    assert code == EXIT_INFRASTRUCTURE
    rows = json.loads(out)["findings"]
    bad = [row for row in rows if row["status"] == "bad"]
    assert [(row["host"], row["name"]) for row in bad] == [("far2", "connection")]
    assert {row["host"] for row in rows} == {"far1", "far2"}


@pytest.mark.usefixtures("outside")
def test_a_host_that_nobody_knows_is_refused_as_a_run_refuses_it(
    host: FarHost, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = doctor(capsys, "--host", "far9")
    assert (code, out) == (EXIT_USAGE, "")
    assert "unknown host `far9`" in error
    assert f"did you mean `{host.name}`?" in error


@pytest.mark.usefixtures("outside")
def test_no_host_is_asked_unless_it_is_named(
    host: FarHost, capsys: pytest.CaptureFixture[str]
) -> None:
    before = host.log()
    doctor(capsys)
    assert host.log() == before


def test_a_host_of_the_catalog_is_known_in_its_checkout(
    far_host: FarHost,
    hosts_config: WriteHosts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hosts_config()
    project = Project(UserTree(tmp_path / "repo"), tmp_path / "state", "token", own_system())
    project.define(HELLO)
    said = f'hosts.{far_host.name} = {{ address = "{far_host.address}"; port = {far_host.port};'
    said += f' user = "root"; key = "{far_host.client_key}"; workDir = "{far_host.work_dir}";'
    said += f' fingerprint = "{far_host.host_key_fingerprint}"; }};'
    flake = project.root / "flake.nix"
    flake.write_text(flake.read_text().replace("targets = import", f"{said} targets = import"))
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("PIKACI_STATE_ROOT", str(project.state))
    code, out, _ = doctor(capsys, "--host", far_host.name)
    assert code == 0
    assert f"free at {far_host.work_dir}" in out


# --- Words ---


@pytest.mark.parametrize(
    ("ahead_secs", "text"),
    [
        (3600.4, "its clock is 60 min 00 s ahead of this machine's"),
        (-90.0, "its clock is 1 min 30 s behind this machine's"),
        (59.0, "as here"),
    ],
)
def test_a_clock_is_told_by_how_much_it_is_off(ahead_secs: float, text: str) -> None:
    assert clock_finding(Clock(ahead_secs, 0.01)).text == text


def test_capacity_is_what_is_declared_and_what_is_found() -> None:
    assert capacity_finding(HostCapacity(), 8, 1024).text == "8 CPUs, 1024 MiB"
    assert capacity_finding(HostCapacity(cpus=2, jobs=3), 8, 1024).text == (
        "2 of 8 CPUs, 1024 MiB, 3 jobs at a time"
    )

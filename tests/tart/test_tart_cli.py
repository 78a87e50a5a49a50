"""Jobs in macOS VMs, as a user asks for them on the command line."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2e.conftest import bare_project, project
from e2e.project import Done, Json, Project, finish, wait_for
from e2e.terminal import TerminalSession
from incus.guest_project import started
from jerichoci.record.event import parse_event
from jerichoci.record.record import RunRecord
from records import PHASES
from tart_jobs import BASE

if TYPE_CHECKING:
    from remote.conftest import WriteHosts
    from tart.mac import Mac

__all__ = ["bare_project", "project"]

TARGETS = """
  t = {
    description = "In a VM";
    prepare.made.hostCommand = { command = "echo made here > made"; outputs = [ "made" ]; };
    jobs.it = {
      runtime = "tart"; tart.base = "sequoia"; timeoutSecs = 60; env.STATED = "yes";
      needs = [ "made" ];
      command = ''
        echo said; cat README $PIKACI_INPUT_MADE/made
        echo left > $PIKACI_ARTIFACTS/left
        echo changed > new
        [ ! -e fails ] || exit 3
      '';
    };
  };
  bad.jobs.it = {
    runtime = "tart"; tart.base = "sequoia"; env.STATED = "yes";
    command = "echo made > made; exit 3";
  };
  slow.jobs.it = {
    runtime = "tart"; tart.base = "sequoia"; retries.infrastructure = 0;
    command = "echo begun; sleep 600";
  };
"""
ENDED_SECS = 30


@pytest.fixture
def catalog(project: Project) -> Project:
    """A project whose targets have their jobs in VMs."""
    project.define(TARGETS)
    project.write("README", "hello\n")
    project.tree.commit()
    return project


@pytest.fixture
def ci(catalog: Project, mac: Mac) -> Project:
    """Likewise, on a Mac."""
    mac.add_base(BASE)
    return catalog


@pytest.fixture
def kept(ci: Project) -> Project:
    """Likewise, where the job of `bad` failed and its VM was kept."""
    assert ci.here("run", "bad", "--keep", "on-failure").code == 1
    return ci


def job_vms(mac: Mac) -> list[str]:
    return [name for name in mac.vms() if name != BASE]


def assert_nothing_is_left(project: Project, mac: Mac) -> None:
    assert mac.vms() == {BASE: "stopped"}
    assert list((project.state / "elsewhere" / "tart").glob("*")) == []
    assert list(project.state.glob("runs/*/scratch/*")) == []


# Where there is no Mac


@pytest.mark.parametrize("system", ["aarch64-darwin", None])
def test_a_machine_that_is_no_mac_plans_jobs_in_vms_and_runs_none(
    catalog: Project, system: str | None
) -> None:
    for_it = replace(catalog, system=system or catalog.system)
    for_it.define(TARGETS)
    done = for_it.here("run", "t", "--output", "json")
    sentence = done.refused(2)
    assert (
        "job it runs in a macOS VM (runtime tart), which needs a Mac with Apple silicon" in sentence
    )
    assert "this machine is Linux " in sentence
    assert '`placement = "remote_ssh"`' in sentence
    assert done.out == ""
    assert not (catalog.state / "elsewhere" / "tart").exists()
    values = for_it.here("plan", "t", "--json").passed().json
    (job,) = [node for node in values["nodes"] if node["kind"] == "execute"]
    assert (values["system"], job["runtime"]) == (for_it.system, "tart")
    assert job["runtime_config"]["base"] == BASE
    assert "local, tart" in for_it.here("plan", "t", "--graph").passed().out
    assert "job     it" in for_it.here("run", "t", "--dry-run").passed().out
    assert for_it.run_ids() == []


def test_a_target_of_both_kinds_is_refused_as_a_whole(catalog: Project) -> None:
    catalog.define(TARGETS.replace("bad.jobs.it", 'bad.jobs.other.command = "true"; bad.jobs.it'))
    assert "needs a Mac" in catalog.here("run", "bad").refused(2)
    record = catalog.run("bad", "--job", "other")
    assert [job["status"] for job in record["jobs"] if job["id"] == "other"] == ["passed"]


def test_commands_about_what_is_left_ask_for_no_tart(catalog: Project) -> None:
    catalog.define('  hello.jobs.it.command = "true";')
    catalog.run("hello")
    assert "nothing to reap" in catalog.here("reap").passed().err
    catalog.here("gc", "--keep-runs", "0").passed()
    out = catalog.here("doctor").passed().out
    assert "tart " not in out.replace("start ", "")


# On a Mac


def test_a_job_runs_in_a_vm(ci: Project, mac: Mac) -> None:
    lines = ci.here("run", "t", "--output", "jsonl").passed().lines
    assert lines == ci.events()
    phases = [row for row in lines if row["event"] == "job_phase"]
    assert [row["phase"] for row in phases if row["outcome"] != "started"] == PHASES
    for row in lines:
        parse_event(row)
    record = ci.record()
    (job,) = record["jobs"]
    assert (record["status"], job["status"]) == ("passed", "passed"), ci.log("it")
    assert [row["path"] for row in job["artifacts"]] == ["left"]
    assert job["execution"]["base"] == BASE
    RunRecord.model_validate(ci.record())
    assert not (ci.root / "new").exists()
    guest = ci.here("logs", "latest", "--kind", "guest").passed().out
    assert guest == "said\nhello\nmade here\n"
    host = ci.log("it")
    assert "pikaci> launch_guest passed" in host
    assert "said" not in host.splitlines()
    assert_nothing_is_left(ci, mac)


def test_a_mac_without_the_base_or_tart_is_refused(ci: Project, mac: Mac) -> None:
    mac.tart("delete", BASE)
    sentence = ci.here("run", "t").refused(2)
    assert f"has no VM {BASE}, the base of job it" in sentence
    assert "tart clone" in sentence
    mac.bin.joinpath("tart").unlink()
    sentence = ci.here("run", "t").refused(2)
    assert "has no tart that answers" in sentence
    assert "brew install" in sentence
    assert ci.run_ids() == []


def test_a_rerun_has_another_vm_which_may_be_kept_though_it_passed(ci: Project, mac: Mac) -> None:
    first = ci.run("t")
    ci.write("README", "changed\n")
    again = ("rerun", "latest", "--keep", "always", "--output", "json")
    assert ci.here(*again).passed().json["rerun_of"] == first["run_id"]
    assert "hello" in ci.here("logs", "latest", "--kind", "guest").passed().out.splitlines()
    names = {call.argv[2] for call in mac.calls("clone")}
    assert len(names) == 2
    (kept,) = job_vms(mac)
    assert kept in names
    words = ("sh", "-c", "cat new $PIKACI_INPUT_MADE/made; ls $PIKACI_ARTIFACTS")
    done = ci.pikaci("shell", "latest", "it", "--", *words).passed()
    assert done.out == "changed\nmade here\nleft\n"


def test_a_vm_that_crashes_is_a_machine_s_fault(ci: Project, mac: Mac) -> None:
    with started(ci, "run", "slow") as running:
        wait_for(lambda: begun(ci))
        mac.crash(job_vms(mac)[0])
        done = finish(running)
    assert done.code == 75, done
    (job,) = ci.record()["jobs"]
    assert (job["failure_kind"], job["cause"]["code"]) == ("infrastructure", "runtime_unavailable")
    assert "was switched off" in job["message"]
    assert_nothing_is_left(ci, mac)


# Shells


def test_a_kept_vm_is_stopped_and_has_shells(kept: Project, mac: Mac) -> None:
    (name,) = job_vms(mac)
    assert mac.vms()[name] == "stopped"
    done = kept.pikaci("shell", "latest", "it", stdin=b"cat made; echo $STATED; id -un; exit 5")
    assert (done.code, done.out) == (5, "made\nyes\nadmin\n")
    assert mac.vms()[name] == "stopped"
    words = ("sh", "-c", 'printf "%s|" "$0" "$@"; echo err >&2; exit 7', "a b", "'$HOME'", "")
    done = kept.pikaci("shell", "latest", "it", "--", *words)
    assert (done.code, done.out, done.err) == (7, "a b|'$HOME'||", "err\n")
    data = b"some words\n" * 20_000
    assert kept.pikaci("shell", "latest", "it", "--", "cat", stdin=data).out.encode() == data
    text = kept.here("status", "latest").passed().out
    assert "failed (test_failure)" in text
    assert "exited with 3" in text


def test_a_shell_may_have_a_terminal(kept: Project, mac: Mac) -> None:
    argv = kept.argv("shell", "latest", "it")
    with TerminalSession(argv, kept.root, kept.env()) as screen:
        screen.wait_for("it$ ")
        screen.type("cat made; pwd; echo $((40 + 2)) $STATED\n")
        screen.wait_for("42 yes")
        screen.type("exit 5\n")
        assert screen.wait() == 5
        assert {"made", "/workspace/snapshot"} <= set(screen.text.splitlines())
    assert "running" not in mac.vms().values()


WAITS = ("sh", "-c", "touch ~/begun; until [ -e go ]; do sleep 0.05; done; cat made")


def wait_until_it_waits(mac: Mac, name: str) -> None:
    """Wait until a shell is at `WAITS`."""
    begun = mac.disk(name) / "Users/admin/begun"
    wait_for(begun.exists)
    begun.unlink()


def test_a_shell_that_is_told_to_end_stops_the_vm(kept: Project, mac: Mac) -> None:
    (name,) = job_vms(mac)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        with started(kept, "shell", "latest", "it", "--", *WAITS) as process:
            wait_until_it_waits(mac, name)
            process.send_signal(number)
            finish(process)
        assert mac.vms()[name] == "stopped", number
    assert kept.pikaci("shell", "latest", "it", "--", "cat", "made").out == "made\n"


def test_a_shell_that_is_told_to_end_while_the_vm_boots_stops_it(kept: Project, mac: Mac) -> None:
    (name,) = job_vms(mac)
    mac.fail("boot", "late", secs=30)
    with started(kept, "shell", "latest", "it") as process:
        wait_for(lambda: mac.vms()[name] == "running")
        process.send_signal(signal.SIGTERM)
        finish(process)
    assert mac.vms()[name] == "stopped"


def test_a_vm_has_one_shell_at_a_time_and_one_that_was_killed_is_no_hindrance(
    kept: Project, mac: Mac
) -> None:
    (name,) = job_vms(mac)
    with started(kept, "shell", "latest", "it", "--", *WAITS) as process:
        wait_until_it_waits(mac, name)
        sentence = kept.here("shell", "latest", "it", "--", "true").refused(2)
        assert sentence.startswith("pikaci: the VM of job it has a shell already; ")
        process.kill()
        # What it had started has its pipes still.
        process.wait(ENDED_SECS)
    assert mac.vms()[name] == "running"
    assert kept.pikaci("shell", "latest", "it", "--", "cat", "made").passed().out == "made\n"
    assert mac.vms()[name] == "stopped"


def test_there_is_no_shell_where_no_vm_was_kept_or_it_is_gone(ci: Project, mac: Mac) -> None:
    ci.here("run", "bad")
    sentence = ci.here("shell", "latest", "it").refused(2)
    assert "did not keep the VM of it" in sentence
    assert "--keep always" in sentence
    ci.here("rerun", "latest", "--keep", "on-failure")
    (name,) = job_vms(mac)
    mac.tart("delete", name)
    ci.here("reap").passed()
    assert "is gone; to keep another one: `" in ci.here("shell", "latest", "it").refused(2)


# What goes


def test_a_kept_vm_is_removed_with_its_run_and_stays_with_it_while_there_is_no_tart(
    kept: Project, mac: Mac
) -> None:
    (name,) = job_vms(mac)
    kept.here("gc", "--keep-runs", "0", "--dry-run").passed()
    assert job_vms(mac) == [name]
    program, away = mac.bin / "tart", mac.bin / "elsewhere"
    run_id = kept.record()["run_id"]
    program.rename(away)
    assert "nothing to reap" in kept.here("reap").passed().err
    done = kept.pikaci("gc", "--keep-runs", "0").passed()
    assert f"{run_id} can't be removed: tart can't be started" in done.err
    assert "Traceback" not in done.err
    assert kept.run_ids() == [run_id]
    away.rename(program)
    kept.here("gc", "--keep-runs", "0").passed()
    assert_nothing_is_left(kept, mac)


def begun(project: Project) -> bool:
    """Whether the job of `slow` says something by now."""
    logs = [log for run in project.run_ids() for log in project.run_dir(run).glob("**/guest.log")]
    return any("begun" in log.read_text() for log in logs)


def test_a_live_run_is_left_alone_followed_and_cancelled(ci: Project, mac: Mac) -> None:
    with started(ci, "run", "slow") as running:
        wait_for(lambda: begun(ci))
        ci.here("reap").passed()
        ci.here("gc", "--keep-runs", "0").passed()
        assert list(mac.vms().values()).count("running") == 1
        with started(ci, "logs", "latest", "--follow", "--kind", "guest") as following:
            assert "cancelling run" in ci.here("cancel", "latest").passed().err
            assert finish(running).code == 130
            assert finish(following).out == "begun\n"
    assert ci.record()["status"] == "cancelled"
    assert_nothing_is_left(ci, mac)


def test_it_goes_when_the_next_job_wants_its_room(ci: Project, mac: Mac) -> None:
    with started(ci, "run", "slow") as running:
        wait_for(lambda: begun(ci))
        running.kill()
        finish(running)
    assert list(mac.vms().values()).count("running") == 1
    ci.run("t")
    assert mac.vms() == {BASE: "stopped"}
    ci.here("reap").passed()
    assert_nothing_is_left(ci, mac)


# What doctor says


def findings(done: Done) -> dict[str, Json]:
    return {row["name"]: row for row in done.json["findings"]}


def test_doctor_tells_of_tart_and_what_it_lacks(ci: Project, mac: Mac) -> None:
    release = mac.bin / "sw_vers"
    release.write_text("#!/bin/sh\necho 13.6\n")
    release.chmod(0o755)
    for name in ("theirs", "others"):
        mac.run_by_hand(name)
    found = findings(ci.here("doctor", "--json").passed())
    version = mac.tart("--version").stdout.strip()
    tart, macos = found["tart"], found["macos"]
    assert (tart["status"], tart["text"]) == ("ok", f"{version}; 3 VMs, 2 running")
    assert (macos["status"], macos["hint"]) == ("note", "macOS 14 or later")
    assert "theirs" in found["macos vms"]["text"]
    mac.bin.joinpath("tart").unlink()
    row = findings(ci.here("doctor", "--json").passed())["tart"]
    assert row["status"] == "note"
    assert "brew install" in row["hint"]


def test_doctor_looks_at_a_far_mac(
    catalog: Project, far_mac: Mac, hosts_config: WriteHosts
) -> None:
    assert far_mac.host is not None
    far_mac.add_base(BASE)
    config = hosts_config(far_mac.host).parent.parent
    ci = catalog.with_env(XDG_CONFIG_HOME=str(config))
    done = ci.here("doctor", "--host", far_mac.host.name, "--json")
    found = findings(done.passed())
    assert found["tart"]["host"] == far_mac.host.name
    assert "1 VMs, 0 running" in found["tart"]["text"]

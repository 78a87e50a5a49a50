"""Signals sent at random moments to random processes of a run, and what must hold afterwards."""

from __future__ import annotations

import os
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.project import Project, finish, processes, wait_for

if TYPE_CHECKING:
    import random

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
LINES = 200
RUNNING = 0.7
"""How many of the signals come after the run has a record; the others meet its planning."""
LATEST_SECS = 1.5
"""The last moment of a signal, counted from there."""
GONE_DEADLINE_SECS = 60.0
CODES = {"test_failure": 1, "timeout": 124, "infrastructure": 75}

TARGETS = """
  killed = {
    prepare.dep.drv = build "dep-@round@" ''
      : @marker@; sleep 0.2; echo built > $out
    '';
    jobs = {
      built = { needs = [ "dep" ]; command = "@say@; exec -a @marker@ sleep 0.2"; };
      plain.command = "@left@ & @say@; exec -a @marker@ sleep 0.4";
      last = { needs = [ "built" "plain" ]; command = "@say@"; };
    };
  };
""".replace("@say@", f"set -e; seq {LINES}; echo made > $PIKACI_ARTIFACTS/made").replace(
    "@left@", "setsid bash -c 'exec -a @marker@ sleep 60'"
)


@dataclass(frozen=True)
class Kill:
    """One run that got a signal."""

    victim: str
    signal: signal.Signals
    code: int
    status: str


def define(project: Project) -> None:
    """A run of three jobs and a build, all of whose processes can be told by a marker."""
    project.define(TARGETS.replace("@round@", secrets.token_hex(4)))


def kill_once(project: Project, chance: random.Random) -> Kill:
    """Start the run, send one signal to one of its processes, and check what is left of it."""
    define(project)
    before = set(project.run_ids())
    running = project.start("run", "killed", "--output", "json")
    if chance.random() < RUNNING:
        wait_for(lambda: set(project.run_ids()) - before or running.poll() is not None)
    time.sleep(chance.uniform(0, LATEST_SECS))
    victim = chance.choice(family(running.pid))
    sent = chance.choice(SIGNALS)
    said = command(victim)
    try:
        os.kill(victim, sent)
    except ProcessLookupError:
        said = "nobody"
    done = finish(running)
    new = sorted(set(project.run_ids()) - before)
    assert len(new) <= 1, new
    wait_for(lambda: not processes(project.marker), GONE_DEADLINE_SECS)
    project.here("reap").passed()
    status = check(project, new[0], done.code) if new else "no run"
    if status == "no run":
        assert done.code < 0 or done.code in {75, 130}, done
    return Kill(said, sent, done.code, status)


def check(project: Project, run_id: str, code: int) -> str:
    """The record is an end, the exit code is its, and what passed has all it printed and made."""
    record, events = project.record(run_id), project.events(run_id)
    assert record["finished_at"], record
    assert events[-1]["event"] == "run_finished"
    assert events[-1]["run"] == record
    assert [event["seq"] for event in events] == list(range(len(events)))
    status: str = record["status"]
    if code >= 0 and code != 128 + signal.SIGQUIT:
        want = {"passed": 0, "cancelled": 130}.get(status) or CODES.get(record["failure_kind"], 0)
        assert code == want, (code, record)
    for job in record["jobs"]:
        assert job["status"] in {"passed", "failed", "skipped", "cancelled"}, job
        if job["status"] == "passed":
            log = project.log(job["id"], run_id).splitlines()
            assert [line for line in log if line.isdigit()] == [str(n + 1) for n in range(LINES)]
            assert [item["path"] for item in job["artifacts"]] == ["made"], job
    if status == "passed":
        assert all(job["status"] == "passed" for job in record["jobs"]), record
    return status


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat[stat.rindex(")") + 2 :].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found


def command(pid: int) -> str:
    try:
        line = (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return "gone"
    return line.replace(b"\0", b" ").decode()[:60]

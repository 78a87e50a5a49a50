"""How a job ends: deadlines, signals, what it leaves running, and that its result is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.project import wait_for
from guest.guest import RUNNER, Guest, is_runner, load_runner, processes_of

MIB = 1024 * 1024


def test_a_command_that_takes_too_long_is_terminated(guest: Guest) -> None:
    result = guest.run("trap 'echo bye; exit 3' TERM; echo hi; sleep 50 & wait", TIMEOUT_SECS="1")

    assert (result["status"], result["exit_code"]) == ("timed_out", 3)
    assert result["message"] == "the command ran longer than 1 s"
    assert guest.log() == "hi\nbye\n"
    assert guest.event("terminating")["reason"] == "timeout"


def test_a_command_that_ignores_term_is_killed_after_the_grace(guest: Guest, marker: str) -> None:
    command = f"trap '' TERM; while :; do sleep 0.1; done # {marker}"
    result = guest.run(command, TIMEOUT_SECS="1", GRACE_SECS="0.3")

    assert (result["status"], result["exit_code"], result["signal"]) == ("timed_out", None, 9)
    assert processes_of(marker) == []


def test_nothing_that_a_command_started_outlives_its_timeout(guest: Guest, marker: str) -> None:
    sleeper = f"sh -c 'trap \"\" TERM; sleep 61 # {marker}; : '"
    command = f"setsid {sleeper} & setsid -f {sleeper}; (setsid -f nohup {sleeper} &) ; sleep 60"
    guest.start(command, TIMEOUT_SECS="1", GRACE_SECS="0.3")
    wait_for(lambda: len(processes_of(marker)) >= 3)

    assert guest.result()["status"] == "timed_out"
    assert processes_of(marker) == []


@pytest.mark.parametrize(
    "command",
    ["setsid -f sh -c 'sleep 61 # {}; :'", "sh -c 'kill -STOP $$; : # {}' &\nsleep 0.2"],
    ids=["in another session", "stopped"],
)
def test_what_a_command_leaves_running_is_killed_before_the_result(
    guest: Guest, marker: str, command: str
) -> None:
    assert guest.run(command.format(marker))["status"] == "passed"
    assert processes_of(marker) == []


def test_a_command_may_kill_its_own_group(guest: Guest) -> None:
    result = guest.run("kill -KILL 0")

    assert (result["status"], result["signal"]) == ("failed", 9)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_runner_that_is_told_to_stop_ends_its_job(guest: Guest, marker: str, number: int) -> None:
    guest.start(f"sleep 60 # {marker}\n:", GRACE_SECS="0.3")
    guest.event("command_started")
    os.kill(guest.pid(), number)

    result = guest.result()
    assert (result["status"], result["message"]) == ("error", "the runner was told to stop")
    assert processes_of(marker) == []


def test_a_hangup_is_nothing_to_the_runner(guest: Guest) -> None:
    guest.start("sleep 0.5; echo on")
    guest.event("command_started")
    os.kill(guest.pid(), signal.SIGHUP)

    assert guest.result()["status"] == "passed"
    assert guest.log() == "on\n"


def test_the_job_survives_its_client(guest: Guest) -> None:
    with subprocess.Popen(
        guest.argv(), env=guest.variables("sleep 1; echo survived"), start_new_session=True
    ) as client:
        guest.event("command_started")
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()

    assert guest.result()["status"] == "passed"
    assert guest.log() == "survived\n"


def test_a_second_exec_starts_nothing(guest: Guest) -> None:
    guest.start("echo once; sleep 0.5")
    again = guest.execute(guest.variables("echo twice"))

    assert again.returncode == 0
    assert json.loads(again.stdout) == {"contract": 1, "state": "already_started"}
    assert guest.result()["status"] == "passed"
    assert guest.log() == "once\n"


def test_the_runner_tells_what_it_did_and_is_gone_after_its_result(guest: Guest) -> None:
    guest.run("true")
    pid = guest.pid()

    wait_for(lambda: not is_runner(pid, guest.root))
    left = {path.name for path in guest.artifacts.iterdir()}
    assert left == {"guest.log", "events.jsonl", "result.json", "files"}
    events = guest.events()
    names = [event["event"] for event in events]
    assert names == ["runner_started", "workspace_ready", "command_started", "command_finished"]
    assert all(event["schema_version"] == 1 and event["ts"].endswith("Z") for event in events)


def test_a_lot_of_output_passes_the_runner_by(guest: Guest) -> None:
    guest.start("head -c 256M /dev/zero; touch $PIKACI_ARTIFACTS/printed; sleep 60", GRACE_SECS="1")
    wait_for((guest.artifacts / "files" / "printed").exists)
    pid = guest.pid()

    wait_for(lambda: (guest.artifacts / "guest.log").stat().st_size == 256 * MIB)
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    status = dict(
        line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    assert int(io["wchar"]) < MIB
    assert int(status["VmHWM"].split()[0]) * 1024 < 40 * MIB


def test_a_job_that_fills_the_disk_has_a_result(guest: Guest) -> None:
    mount = f"mount -t tmpfs -o size=1m tmpfs {guest.artifacts}\n"
    fill = "cat /dev/zero > $PIKACI_ARTIFACTS/full; echo full"
    keep = f"cp {guest.artifacts}/result.json {guest.root}/result.json"
    wait = f"until [ -e {guest.artifacts}/result.json ]; do sleep 0.1; done"
    argv = guest.argv(setup=f'{mount}"$@"; {wait}; {keep}; exit')
    subprocess.run(argv, env=guest.variables(fill), check=True, timeout=60)

    result = json.loads((guest.root / "result.json").read_text())
    assert result["status"] == "error"
    assert "guest.log" in result["message"]


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_runner_killed_while_it_writes_the_result_leaves_none_or_a_whole_one(
    tmp_path: Path, call: str
) -> None:
    # Dies in the middle of each call in turn: half of a write is written, half of a replace done.
    script = f"""
import importlib.util, os, signal
spec = importlib.util.spec_from_file_location("runner", {str(RUNNER)!r})
runner = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)
records = runner.Records({str(tmp_path)!r})
assert records.claim()
real = os.{call}
def die(*arguments):
    if {call!r} == "write":
        real(arguments[0], bytes(arguments[1][:len(arguments[1]) // 2]))
    elif {call!r} == "open":
        real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
os.{call} = die
records.result({{"status": "passed"}})
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False, timeout=30)

    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("delay_secs", [0.045, 0.055, 0.065])
def test_a_runner_killed_at_any_moment_leaves_no_half_result(
    guest: Guest, delay_secs: float
) -> None:
    guest.start("sleep 0.05")
    pid = guest.pid()
    time.sleep(delay_secs)
    if is_runner(pid, guest.root):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_runner(pid, guest.root))
    result = guest.artifacts / "result.json"
    assert not result.exists() or json.loads(result.read_text())["status"] == "passed"


def test_a_result_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = load_runner()
    monkeypatch.setattr(runner, "RESULT_PAUSE_SECS", 0)
    records = runner.Records(str(tmp_path))
    (tmp_path / "result.json").mkdir()
    tries = []

    def pause(_secs: float) -> None:
        tries.append(1)
        if len(tries) == 3:
            (tmp_path / "result.json").rmdir()

    monkeypatch.setattr(runner.time, "sleep", pause)
    records.result({"status": "passed"})

    assert json.loads((tmp_path / "result.json").read_text())["status"] == "passed"


def test_a_host_can_have_a_job_end_in_order(guest: Guest) -> None:
    def stop() -> None:
        done = guest.execute({"PIKACI_INCUS_CONTRACT": "1"}, "--stop")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    stop()  # where no runner is at work, nothing is stopped
    guest.start("trap 'echo bye; exit 7' TERM; echo up; sleep 60 & wait")
    log = guest.artifacts / "guest.log"
    wait_for(lambda: log.exists() and log.read_text() == "up\n")
    stop()
    result = guest.result()
    assert (result["status"], result["message"]) == ("error", "the runner was told to stop")
    assert guest.log() == "up\nbye\n"

"""`pikaci serve` forks a `pikaci` for each request; it and the children are independent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import REPOSITORY, RUN_ID, Project, wait_for
from e2e.serving import serving
from jerichoci import RunStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.project import Json
    from e2e.serving import Server

TARGETS = """
  hello.jobs.greet.command = "echo hello";
  red.jobs.it.command = "exit 3";
  long.jobs.it.command = "touch @begun@; exec sleep 60";
  waits.jobs.it.command = "touch @begun@; while ! test -e @go@; do sleep 0.05; done";
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    begun, go = str(tmp_path / "begun"), str(tmp_path / "go")
    return Project.committed(tmp_path, TARGETS.replace("@begun@", begun).replace("@go@", go))


@pytest.fixture
def server(project: Project) -> Iterator[Server]:
    with serving(project) as server:
        yield server


def begin(server: Server, target: str) -> int:
    """Have a target run that does not end by itself; the pid of its `pikaci` once a job runs."""
    pid = server.start("run", target, "--run-id", RUN_ID)
    wait_for(server.project.state.with_name("begun").exists)
    return pid


def test_a_served_run_is_a_run_with_its_own_id_and_record(server: Server) -> None:
    assert server.do("run", "hello", "--run-id", RUN_ID) == {"exit_code": 0}
    record = server.project.record(RUN_ID)
    assert record["status"] == "passed"
    assert "hello" in server.project.log("greet", RUN_ID)
    assert f"run {RUN_ID}: hello" in server.said()


def test_the_end_of_a_served_command_is_its_exit_code(server: Server) -> None:
    assert server.do("run", "red") == {"exit_code": 1}
    assert server.do("run", "no-such-target") == {"exit_code": 2}
    assert server.do("status", "latest", "--json") == {"exit_code": 0}
    assert json.loads(server.said("stdout"))["status"] == "failed"


def test_what_a_child_prints_is_appended_to_its_files(server: Server) -> None:
    server.do("--version")
    server.do("--version")
    assert len(server.said("stdout").splitlines()) == 2


def test_a_child_has_the_environment_of_its_request_and_not_the_servers(
    project: Project,
) -> None:
    with serving(project, env=project.env() | {"PIKACI_RUN_OUTPUT": "json"}) as server:
        server.do("run", "hello")
        assert server.said("stdout") == ""
        server.do("run", "hello", env=project.env() | {"PIKACI_RUN_OUTPUT": "json"})
        assert json.loads(server.said("stdout"))["status"] == "passed"


def test_a_child_has_a_session_of_its_own_and_no_descriptor_of_the_server(server: Server) -> None:
    pid = begin(server, "long")
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    assert opened(pid).isdisjoint(opened(server.process.pid) - {"/dev/null"})
    assert server.do("cancel", RUN_ID) == {"exit_code": 0}


def opened(pid: int) -> set[str]:
    """What a process has open, without what has no name."""
    links = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
    return {link for link in links if not link.startswith("anon_inode:")}


def test_a_child_has_fresh_signals_whatever_the_server_was_started_with(project: Project) -> None:
    def deaf() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR2})

    bare = project.start("run", "long")
    begun = project.state.with_name("begun")
    wait_for(begun.exists)
    fresh = dispositions(bare.pid)
    bare.kill()
    bare.communicate()
    begun.unlink()
    with serving(project, preexec_fn=deaf) as server:
        pid = begin(server, "long")
        assert dispositions(pid) == fresh
        os.kill(pid, signal.SIGTERM)
        assert server.hear()["exit_code"] == 130


def dispositions(pid: int) -> list[str]:
    """The masks of blocked, ignored and caught signals of a process."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line for line in status if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]


def test_cancel_ends_the_run_that_it_names_and_no_other(server: Server) -> None:
    begin(server, "long")
    server.ask("run", "waits", id="other")
    other = server.hear()["pid"]
    wait_for(lambda: len(server.project.run_ids()) == 2)
    server.ask("cancel", RUN_ID, id="cancel")
    server.hear()
    ends = [server.hear(), server.hear()]
    assert {end["id"]: end["exit_code"] for end in ends} == {"cancel": 0, f"4 {RUN_ID}": 130}
    os.kill(other, 0)
    server.project.state.with_name("go").touch()
    assert server.hear() == {"id": "other", "exit_code": 0}


def test_a_killed_child_is_told_by_its_signal_and_the_server_serves_on(server: Server) -> None:
    os.kill(begin(server, "long"), signal.SIGKILL)
    assert server.hear() == {"id": f"4 {RUN_ID}", "signal": 9}
    assert server.do("run", "hello") == {"exit_code": 0}
    closed = server.project.record(RUN_ID)
    assert (closed["status"], closed["failure_kind"]) == ("failed", "infrastructure")


@pytest.mark.parametrize("end", ["end of stdin", "SIGKILL"])
def test_children_outlive_the_server(server: Server, end: str) -> None:
    pid = begin(server, "waits")
    if end == "SIGKILL":
        server.process.kill()
    else:
        server.requests.close()
    server.process.wait(10)
    assert RunStore(server.project.state).is_running(RUN_ID)
    server.project.state.with_name("go").touch()
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or is_zombie(pid))
    assert server.project.record(RUN_ID)["status"] == "passed"


def is_zombie(pid: int) -> bool:
    """Whether a process has ended where nothing reaps it."""
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()


REQUEST: Json = {
    "id": "7",
    "argv": ["--version"],
    "cwd": "/",
    "env": {},
    "stdout": None,
    "stderr": None,
}


@pytest.mark.parametrize(
    ("line", "request_id", "what"),
    [
        (b"x", None, "the line is not JSON"),
        (b"\xff\xfe", None, "the line is not JSON"),
        (b"[" * 100_000, None, "the line is not JSON"),
        (b"[]", None, "the line is not a JSON object"),
        (b'{"id": 7}', None, "`id` is not a string"),
        (b'{"id": "7"}', "7", "`argv`"),
        (REQUEST | {"argv": []}, "7", "`argv`"),
        (REQUEST | {"argv": ["run", "a\0b"]}, "7", "`argv`"),
        (REQUEST | {"argv": ["run", "\ud800"]}, "7", "`argv`"),
        (REQUEST | {"cwd": "here"}, "7", "`cwd`"),
        (REQUEST | {"env": {"A=B": "c"}}, "7", "`env`"),
        (REQUEST | {"env": {"": "c"}}, "7", "`env`"),
        (REQUEST | {"env": None}, "7", "`env`"),
        (REQUEST | {"stdout": "out"}, "7", "`stdout`"),
        (REQUEST | {"stderr": 2}, "7", "`stderr`"),
        (REQUEST | {"user": "root"}, "7", "the key 'user' is not known"),
        (REQUEST | {"stdout": "/no/such/file"}, "7", "/no/such/file: No such file or directory"),
        (REQUEST | {"stderr": "/"}, "7", "/: Is a directory"),
    ],
)
def test_a_malformed_request_is_answered_and_the_next_one_served(
    server: Server, line: bytes | dict[str, object], request_id: str | None, what: str
) -> None:
    server.send((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
    answer = server.hear()
    assert set(answer) == {"id", "error"}
    assert answer["id"] == request_id
    assert what in answer["error"]
    assert server.do("--version") == {"exit_code": 0}


def test_a_fifo_that_is_not_read_does_not_hold_the_server_up(
    server: Server, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    server.ask("--version", stdout=str(tmp_path / "fifo"))
    assert "fifo" in server.hear()["error"]
    assert server.do("--version") == {"exit_code": 0}


def test_a_line_that_does_not_end_is_refused_once_and_the_next_is_served(server: Server) -> None:
    server.send(b'{"id": "' + b"x" * (9 * 1024 * 1024))
    assert "a line has more than" in server.hear()["error"]
    server.send(b'"}\n')
    assert server.do("--version") == {"exit_code": 0}


def test_a_half_line_at_the_end_is_not_run(server: Server) -> None:
    server.send(json.dumps(REQUEST).encode())
    server.requests.close()
    assert server.hear() == {"id": None, "error": "the last line has no end"}
    assert server.process.wait(10) == 0


def test_requests_can_come_from_a_file(project: Project, tmp_path: Path) -> None:
    (tmp_path / "requests").write_text(json.dumps(REQUEST) + "\n")
    with (tmp_path / "requests").open("rb") as requests:
        argv, env = project.argv("serve"), project.env()
        done = subprocess.run(argv, stdin=requests, env=env, capture_output=True, check=True)
    assert "pid" in json.loads(done.stdout.splitlines()[0])
    assert done.stderr == b""


def test_a_directory_that_is_gone_is_the_childs_failure(server: Server) -> None:
    assert server.do("--version", cwd="/no/such/directory") == {"exit_code": 75}
    assert server.said() == "pikaci: /no/such/directory: No such file or directory\n"


def test_fifty_requests_at_once_are_fifty_children(server: Server) -> None:
    for number in range(50):
        server.ask("--version", id=str(number))
    answers = [server.hear() for _ in range(100)]
    assert len({answer["pid"] for answer in answers if "pid" in answer}) == 50
    ends = [answer["id"] for answer in answers if answer.get("exit_code") == 0]
    assert sorted(ends, key=int) == [str(number) for number in range(50)]


def test_the_server_has_one_thread(server: Server) -> None:
    server.do("run", "hello")
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert "Threads:\t1\n" in status


@pytest.mark.parametrize(
    "command", ["run hello", "run --plan {set} hello", "plan hello --set", "cancel latest"]
)
def test_a_child_imports_nothing_that_the_server_has_not(
    project: Project, tmp_path: Path, command: str
) -> None:
    planned = tmp_path / "set.json"
    planned.write_text(project.here("plan", "hello", "--set").passed().out)
    project.run("hello")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *command.format(set=planned).split()],
        cwd=project.root,
        env=project.env() | {"PYTHONPATH": str(REPOSITORY / "orchestrator")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "imported: []", done.stderr


IMPORTED = """
import os, sys
from pikaci.commands.serve import warm_up
from pikaci.__main__ import run
warm_up()
before = set(sys.modules)
run(sys.argv[1:])
print("imported:", sorted(set(sys.modules) - before), file=sys.stderr)
"""

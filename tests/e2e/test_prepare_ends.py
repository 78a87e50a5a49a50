"""How prepares end: the verdict for each way, and the reason, in Nix's own words."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from e2e.project import Json, Project, finish, nix_daemon, processes, set_by, wait_for
from privilege import only_root_can

MAKE = """
let
  make = name: script: more: derivation ({
    inherit name system;
    builder = "/bin/sh";
    args = [ "-c" script ];
    token = "@token@";
    PATH = "@path@";
  } // more);
  hash = mode: {
    outputHashMode = mode;
    outputHashAlgo = "sha256";
    outputHash = "0000000000000000000000000000000000000000000000000000000000000000";
  };
  fine = make "fine" "echo > $out" { };
  deep = make "deep" "exit 3" { };
in
"""
FAILED, PASSED, MACHINE = "test_failure", None, "infrastructure"
GOT = "sha256-" + base64.b64encode(hashlib.sha256(b"hi\n").digest()).decode()
FETCHED = """{
    builder = "builtin:fetchurl"; system = "builtin"; url = "file:///nonexistent/file";
}"""
ENDS: dict[str, tuple[str, str | None, str]] = {
    # name: (script and attributes, whose fault, words of the cause)
    "passes": ('"echo > $out" { }', PASSED, ""),
    "uses": ('"cat $fine > $out" { inherit fine; }', PASSED, ""),
    "flat": ('"echo hi > $out" (hash "flat")', FAILED, f"hash mismatch|{GOT}"),
    "tree": ('"mkdir $out; echo hi > $out/a" (hash "recursive")', FAILED, "hash mismatch|got: "),
    "nothing": ('"echo made nothing" { }', FAILED, "failed to produce output path"),
    "exits": ('"echo one; echo two >&2; exit 7" { }', FAILED, "exit code 7"),
    "killed": ('"kill -KILL $$" { }', FAILED, "signal 9"),
    "segv": ('"kill -SEGV $$" { }', FAILED, "signal 11"),
    "refers": (
        '"echo $fine > $out" { inherit fine; disallowedReferences = [ fine ]; }',
        FAILED,
        "is not allowed to refer to|-fine",
    ),
    "above": ('"echo > $out" { needs = [ deep ]; }', FAILED, "-deep.drv|exit code 3"),
    "absent": (
        '"" { builder = "/nonexistent/sh"; }',
        FAILED,
        "failed with exit code 1: executing '/nonexistent/sh': No such file or directory",
    ),
    "unfetched": (
        f'"" (hash "flat" // {FETCHED})',
        FAILED,
        "failed with exit code 1: unable to download 'file:///nonexistent/file'",
    ),
    "alike": (
        """"echo \\"error: executing 'x': no\\"; echo 'error: mine'; exit 1" { }""",
        FAILED,
        "-alike.drv|failed with exit code 1",
    ),
    "fifo": ('"mkfifo $out" { }', FAILED, "unsupported type"),
    "long": (
        "\"echo before; head -c 3000000 /dev/zero | tr '\\\\0' x; echo; echo after; exit 1\" { }",
        FAILED,
        "exit code 1",
    ),
    "bytes": ("\"printf 'a\\\\377\\\\376b\\\\n'; exit 1\" { }", FAILED, "exit code 1"),
    "alien": (
        '"" { needs = [ (make "other" "" { system = "pdp11-unix"; }) ]; }',
        MACHINE,
        "pdp11-unix",
    ),
    "special": ('"" { requiredSystemFeatures = [ "abacus" ]; }', MACHINE, "abacus"),
}


def target(project: Project, name: str, ends: dict[str, str]) -> None:
    """Define a target with a prepare and a job for each way to end."""
    prepares = "".join(f'prepare.{e}.drv = make "{e}" {how};\n' for e, how in ends.items())
    jobs = "".join(f'jobs.use-{e} = {{ needs = [ "{e}" ]; command = "true"; }};\n' for e in ends)
    project.define(f"{name} = {MAKE} {{ {prepares} {jobs} }};")


def causes(project: Project) -> dict[str, Json]:
    return {job["id"].removeprefix("use-"): job for job in project.record()["jobs"]}


def log_of(project: Project, name: str) -> str:
    """What is said to the job that needs the prepare."""
    return (project.run_dir() / f"jobs/use-{name}/attempts/1/host.log").read_text()


def test_each_end_has_its_verdict_and_the_reason_in_nixs_words(
    project: Project, builders: dict[str, str]
) -> None:
    project = project.with_env(**builders)
    target(project, "ends", {name: how for name, (how, _, _) in ENDS.items()})
    done = project.here("run", "ends")
    assert done.code == 1
    assert "hash mismatch in fixed-output derivation" in done.err
    assert GOT in done.err
    jobs = causes(project)
    assert {name: job["failure_kind"] for name, job in jobs.items()} == {
        name: kind for name, (_, kind, _) in ENDS.items()
    }
    for name, (_, kind, words) in ENDS.items():
        if kind:
            cause = jobs[name]["cause"]
            assert all(word in cause["message"] for word in words.split("|")), (name, cause)
            assert "\n" not in cause["message"]
            log = " ".join(log_of(project, name).split())
            assert all(word in log for word in words.split("|")), (name, log)
    for name in ("alien", "special"):
        assert "(`extra-platforms` or `extra-system-features`)" in jobs[name]["cause"]["hint"]
    assert "mine" not in jobs["alike"]["cause"]["message"]
    assert jobs["flat"]["cause"]["got_hash"] == GOT
    assert jobs["exits"]["cause"]["got_hash"] is None
    lines = log_of(project, "long").splitlines()
    (cut,) = (line for line in lines if "xxx" in line)
    assert len(cut) < 100_000
    assert re.search(r"x \.\.\. \[cut: this line has 30000\d\d bytes\]$", cut)
    said = [line.partition("> ")[2] for line in lines]
    assert said.index("before") < said.index(cut.partition("> ")[2]) < said.index("after")
    assert "a\ufffd\ufffdb" in log_of(project, "bytes")
    assert "\x1b" not in "".join(log_of(project, name) for name in ENDS)


PRINTS = '"while :; do echo on; sleep 0.1; done" { }'
LIMITS = [
    # the limit, its value and where it is set; a script that it ends
    ("timeout", "2", "option", PRINTS),
    ("timeout", "3", "nix.conf", '"echo then silence; sleep 600" { }'),
    ("max-silent-time", "2", "option", '"echo quiet; sleep 600" { }'),
    ("max-silent-time", "3", "NIX_CONFIG", '"sleep 600" { }'),
    ("max-build-log-size", "20000", "option", '"while :; do echo more and more; done" { }'),
]


@pytest.mark.parametrize("case", LIMITS, ids=lambda case: f"{case[0]} by {case[2]}")
def test_a_limit_of_nix_is_a_timeout_and_is_named(
    project: Project, tmp_path: Path, case: tuple[str, str, str, str]
) -> None:
    limit, value, where, script = case
    ends = {"slow": script}
    if where == "option":
        if limit == "max-build-log-size":
            only_root_can("set this in a Nix daemon")
        ends["fails"] = '"exit 2" { }'
    target(project, "limited", ends)
    if where != "option":
        project = project.with_env(**set_by(where, f"{limit} = {value}", tmp_path))
    flags = ("--option", limit, value) if where == "option" else ()
    done = project.here("run", "limited", *flags)
    jobs = causes(project)
    assert jobs["slow"]["failure_kind"] == "timeout"
    assert f"limit `{limit}` of {value} " in jobs["slow"]["cause"]["message"]
    assert f"limit `{limit}` of {value} " in done.err
    if where == "option":
        assert jobs["fails"]["failure_kind"] == FAILED
    assert done.code == (1 if where == "option" else 124)


@pytest.mark.parametrize(
    ("limit", "value", "script"),
    [
        ("timeout", "2", PRINTS),
        ("max-build-log-size", "20000", '"while :; do echo more and more; done" { }'),
    ],
)
def test_a_limit_that_only_a_nix_daemon_has_is_a_timeout_and_is_named(
    project: Project, tmp_path: Path, limit: str, value: str, script: str
) -> None:
    only_root_can("start a Nix daemon")
    target(project, "limited", {"slow": script, "fails": '"exit 2" { }'})
    with nix_daemon(tmp_path, f"{limit} = {value}") as variables:
        done = project.with_env(**variables).here("run", "limited")
    assert done.code == 1
    jobs = causes(project)
    assert jobs["fails"]["failure_kind"] == FAILED
    assert jobs["slow"]["failure_kind"] == "timeout"
    cause = jobs["slow"]["cause"]
    assert f"limit `{limit}` of {value} " in cause["message"]
    assert "the nix.conf of the Nix that builds: the daemon's" in cause["hint"]


HELD = '"until [ -e {} ]; do sleep 0.05; done; echo > $out" {{ }}'


def test_a_failed_build_is_told_while_others_go_on(project: Project, tmp_path: Path) -> None:
    target(project, "two", {"bad": '"exit 1" { }', "slow": HELD.format(tmp_path / "go")})
    only_root_can("have a Nix that builds as itself")
    running = project.start("run", "two")
    wait_for(
        lambda: any(
            event["event"] == "prepare_finished" and event["outcome"] == "failed"
            for event in (project.events() if project.run_ids() else [])
        )
    )
    (tmp_path / "go").touch()
    assert finish(running).code == 1
    jobs = causes(project)
    assert {name: jobs[name]["failure_kind"] for name in jobs} == {"bad": FAILED, "slow": None}


def test_builds_that_end_at_the_same_time_are_told_while_others_go_on(
    project: Project, tmp_path: Path, marker: str
) -> None:
    only_root_can("have a Nix that builds as itself")
    go, begun = tmp_path / "go", tmp_path / marker
    begun.mkdir()
    wait = f"touch {begun}/$name; until [ -e {go} ]; do sleep 0.02; done"
    ends = dict.fromkeys(("bad1", "bad2", "bad3"), f'"{wait}; exit 1" {{ }}')
    ends |= dict.fromkeys(("good1", "good2"), f'"{wait}; echo > $out" {{ }}')
    target(project, "many", {**ends, "slow": HELD.format(tmp_path / "over")})
    running = project.start("run", "many", "--option", "max-jobs", "6")
    wait_for(lambda: len(list(begun.iterdir())) == len(ends))
    nix = wait_for(lambda: parent_of_all(marker))
    os.kill(nix, signal.SIGSTOP)
    go.touch()
    wait_for(lambda: not processes(marker))  # they are zombies, which have no command line
    os.kill(nix, signal.SIGCONT)
    wait_for(
        lambda: sum(event["event"] == "prepare_finished" for event in project.events()) == len(ends)
    )
    (tmp_path / "over").touch()
    assert finish(running).code == 1
    kinds = {name: job["failure_kind"] for name, job in causes(project).items()}
    assert kinds == {name: FAILED if "bad" in name else None for name in (*ends, "slow")}


def test_fail_fast_does_not_wait_for_other_builds(
    project: Project, tmp_path: Path, marker: str
) -> None:
    held = HELD.format(tmp_path / marker)
    target(project, "two", {"bad": '"exit 1" { }', "slow": held})
    assert project.here("run", "two", "--fail-fast").code == 1
    assert causes(project)["slow"]["status"] == "skipped"
    assert processes(marker) == []


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "KILL"])
def test_a_signal_that_ends_nix_is_the_machines_failure_and_nothing_is_left(
    project: Project, tmp_path: Path, marker: str, name: str
) -> None:
    only_root_can("have a Nix that builds as itself")
    script = f"setsid sh -c 'sleep 600; : {marker}' & touch {tmp_path}/begun; sleep 600"
    target(project, "held", {"held": f'"{script}" {{ }}', "bad": '"exit 1" { }'})
    running = project.start("run", "held")
    wait_for((tmp_path / "begun").exists)
    builder = wait_for(lambda: [row for row in processes(marker) if " -c setsid" in row])[0]
    pid = parent_of(int(builder.split()[0]))
    assert "--keep-going" in Path(f"/proc/{pid}/cmdline").read_text()
    # QUIT alone does not end the first process of a namespace.
    goal = os.getpgid(pid) if name == "QUIT" else pid
    while is_there(pid):
        with suppress(ProcessLookupError):
            os.kill(goal, signal.Signals[f"SIG{name}"])
        time.sleep(1)  # Nix misses one that comes just before it waits for its builders
    assert finish(running).code == 1
    jobs = causes(project)
    assert jobs["bad"]["failure_kind"] == FAILED
    assert jobs["held"]["failure_kind"] == MACHINE
    words = f"SIG{name}" if name in {"QUIT", "KILL"} else "interrupted"
    assert words in jobs["held"]["cause"]["message"]
    wait_for(lambda: processes(marker) == [])


def test_a_group_of_builders_that_is_not_there_is_named_with_what_helps(project: Project) -> None:
    only_root_can("have a Nix that builds as other users")
    target(project, "one", {"one": '"echo > $out" { }'})
    settings = f"{os.environ.get('NIX_CONFIG', '')}\nbuild-users-group = no-such-group"
    assert project.with_env(NIX_CONFIG=settings).here("run", "one").code == 75
    cause = causes(project)["one"]["cause"]
    assert "the group 'no-such-group'" in cause["message"]
    assert "make the group no-such-group" in cause["hint"]


def test_a_nix_daemon_that_dies_is_named_as_the_reason(
    project: Project, tmp_path: Path, marker: str
) -> None:
    only_root_can("start a Nix daemon")
    (tmp_path / marker).mkdir()
    wait = f"touch {tmp_path}/{marker}/begun; until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    target(project, "held", {"held": f'"{wait}" {{ }}'})
    with nix_daemon(tmp_path) as variables:
        running = project.with_env(**variables).start("run", "held")
        os.kill(wait_for(lambda: parent_of_all(marker)), signal.SIGKILL)
        assert finish(running).code == 75
    (tmp_path / "go").touch()
    assert "disconnected unexpectedly" in causes(project)["held"]["cause"]["message"]


def parent_of_all(marker: str) -> int:
    pids = {int(row.split()[0]) for row in processes(marker) if " -c touch" in row}
    with suppress(FileNotFoundError, ValueError):  # not begun, or about to become a `sleep`
        (parent,) = {parent_of(pid) for pid in pids} - pids
        return parent
    return 0


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def parent_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("PPid:")).split()[1])


def removed(project: Project) -> list[Path]:
    """Remove the outputs of the latest run without Nix's knowledge."""
    run = project.here("prepared-outputs", "latest", "--json").passed().json
    paths = [Path(row["path"]) for row in run["outputs"]]
    subprocess.run(["rm", "-rf", *paths], check=True)
    return paths


def test_an_output_that_was_removed_behind_nixs_back_is_made_again(project: Project) -> None:
    only_root_can("have a Nix that builds as itself")
    target(project, "gone", {"a": '"echo > $out" { }', "b": '"mkdir $out; echo > $out/b" { }'})
    project.run("gone")
    paths = removed(project)
    project.here("rerun", "latest").passed()
    assert all(path.exists() for path in paths)
    removed(project)
    refusing = 'echo "error: not yours to repair" >&2; exit 1'
    done = project.shimmed("nix", refusing, of="--repair").here("rerun", "latest")
    assert done.code == 75
    assert "not yours to repair" in done.err


def test_a_build_that_lacks_what_was_removed_is_the_machines_failure(project: Project) -> None:
    only_root_can("have a Nix that builds as itself")
    target(project, "fine", {"fine": '"echo > $out" { }'})
    project.run("fine")
    (path,) = removed(project)
    target(project, "uses", {"uses": '"cat $it > $out" { it = make "fine" "echo > $out" { }; }'})
    assert project.here("run", "uses").code == 75
    assert str(path) in project.record()["message"]
    assert path.name in project.record()["cause"]["hint"]

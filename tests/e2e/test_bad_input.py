"""What is wrong gets one sentence, the right exit code, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from disk import fill, mounted
from e2e.project import HELLO, RUN_ID, Json, Project, finish, wait_for
from usertree import remove

if TYPE_CHECKING:
    from collections.abc import Callable

TWO_LINES = "a\n\x1b[31mb"
QUOTED = "a\\n\\x1b[31mb"
LANE = '[[branch.lanes]]\nid = "hello"\ntarget = "hello"\n'


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project for commands that leave everything as it is."""
    return Project.committed(tmp_path_factory.mktemp("project"))


def assert_nothing_was_left(project: Project) -> None:
    runs = project.state / "runs"
    assert not runs.exists() or list(runs.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "helo"), "there is no target 'helo'; did you mean `hello`?"),
        (("plan", "helo"), "did you mean `hello`?"),
        (("run", "quite-another"), "`pikaci targets` lists them"),
        (("run", "../hello"), "is not a target id"),
        (("run", 'a" + "b'), "is not a target id"),
        (("run", ""), "is not a target id"),
        (("run", "hello", "--job", "gret"), "has no job 'gret'; did you mean `greet`?"),
        (("run", "hello", "--system", "sparc-solaris"), "is not for sparc-solaris"),
        (("run", "hello", "--system", 'x" y'), "is not a system"),
        (("run", "hello", "--source", "git+https://host/repo"), "has no `rev`"),
        (("run", "hello", "--source", "/elsewhere"), "does not start with `git+`"),
        (("run", "hello", "--run-id", "../x"), "is not a run id"),
        (("run", "hello", "--flake", "/nowhere"), "/nowhere is not a directory"),
        (("run", "hello", "--flake", ".#hello"), "names an attribute"),
        (("run", "hello", "--jobs", "0"), "--jobs"),
        (("run", "hello", "--outptu", "json"), "--output"),
        (("run", "hello", "--output", "xml"), "xml"),
        (("run", "hello", "too-much"), "too-much"),
        (("run", "hello", "--all"), "one of them"),
        (("rum", "hello"), "unknown command 'rum'; did you mean `run`?"),
        (("schema", "nothing"), "nothing"),
        (("select", "--base", "HEAD"), "--head"),
        (("select", "--base", "nowhere", "--head", "HEAD"), "nowhere"),
        (("status", "latest"), "there is no run yet"),
        (("lanes",), "forge-lanes.toml"),
        (("run", "hello", "--flak", "."), "?) see `pikaci run --help`"),
        (("run", "hello", "--limit=9" + "9" * 5000), "--limit"),
        (("list", "--limit", "9" * 5000), "--limit"),
        ((TWO_LINES,), QUOTED),
        (("run", TWO_LINES), QUOTED),
        (("plan", TWO_LINES, "--json"), QUOTED),
        (("run", "hello", f"--{TWO_LINES}"), QUOTED),
        (("run", "hello", "--job", TWO_LINES), QUOTED),
        (("run", "hello", "--output", TWO_LINES), QUOTED),
        (("run", "hello", "--jobs", TWO_LINES), QUOTED),
        (("run", "hello", "--run-id", TWO_LINES), QUOTED),
        (("run", "hello", "--system", TWO_LINES), QUOTED),
        (("run", "hello", "--flake", TWO_LINES), QUOTED),
        (("run", "hello", "--source", f"git+file://{TWO_LINES}?rev=main"), QUOTED),
        (("run", "hello", "--source", f"git+file:///x?rev={TWO_LINES}"), QUOTED),
        (("run", "hello", "--changed-since", TWO_LINES), QUOTED),
        (("run", "hello", "--override-input", TWO_LINES, TWO_LINES), ""),
        (("run", "hello", TWO_LINES), QUOTED),
        (("select", "--base", TWO_LINES, "--head", "HEAD"), QUOTED),
        (("schema", TWO_LINES), QUOTED),
        (("status", TWO_LINES), QUOTED),
        (("logs", TWO_LINES), QUOTED),
        (("shell", "latest", TWO_LINES), ""),
        (("cancel", TWO_LINES), QUOTED),
        (("rerun", TWO_LINES), QUOTED),
        (("image", TWO_LINES), QUOTED),
        (("image", "build", TWO_LINES), QUOTED),
        (("doctor", "--host", TWO_LINES), QUOTED),
        (("gc", "--host", TWO_LINES), QUOTED),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(
    unchanged: Project, arguments: tuple[str, ...], said: str
) -> None:
    assert said in unchanged.here(*arguments).refused(2)
    assert_nothing_was_left(unchanged)


def test_a_broken_flake_is_said_in_a_sentence(project: Project) -> None:
    for text, said in (
        ("{ outputs = _: { pikaci = ; }; }", "syntax error"),
        ("{ outputs = _: { }; }", "the flake has no output `pikaci`"),
        ("{ outputs = _: { pikaci = (import ./nowhere); }; }", "nowhere"),
        ("", "the flake does not evaluate"),
    ):
        project.write("flake.nix", text)
        assert said in project.here("run", "hello").refused(2)
    project.write("flake.nix", "{ outputs = _: throw ''no way''; }")
    for command in (("run", "hello"), ("plan", "hello"), ("targets",)):
        assert "no way" in project.here(*command).refused(2)
    assert_nothing_was_left(project)


def test_a_catalog_mistake_names_the_attribute_what_was_expected_and_what_was_found(
    project: Project,
) -> None:
    for targets, said in (
        (
            'hello.jobs.it = { command = "true"; timeoutSecs = "abc"; };',
            'hello.jobs.it.timeoutSecs: expected a positive integer, found the string "abc"',
        ),
        (
            'hello = { jobs.it.command = "true"; snapshot.excludes = [ ]; };',
            'found "excludes" (did you mean "exclude"?)',
        ),
        (
            'hello.jobs.it = { command = "true"; needs = [ "dep" ]; };',
            "targets.hello.jobs.it.needs: expected",
        ),
        ('hello = { trigger = "branch"; jobs.it.command = "true"; };', "targets.hello.trigger"),
        (
            'hello.jobs.it.command = "cat /nix/store/00000000000000000000000000000000-x";',
            "targets.hello.jobs.it.command",
        ),
    ):
        project.define(targets)
        assert said in project.here("run", "hello").refused(2)
    assert_nothing_was_left(project)


def test_a_lanes_file_mistake_names_the_place(project: Project) -> None:
    project.define('hello = { trigger = "branch"; jobs.it.command = "true"; };')
    for text, *words in (
        (LANE + 'colour = "red"\n', "branch.lanes[0]", "colour"),
        (LANE.replace('"hello"\n', '"helo"\n'), "helo"),
        (LANE + 'paths = ["a["]\n', "paths[0]"),
        (LANE + "paths = [\n", "ci/forge-lanes.toml:"),
        (LANE + 'command = "make"\n', "command"),
        (LANE + f"n = {'9' * 5000}\n", "digits"),
        (LANE + f"paths = [0x{'f' * 5000}]\n", "paths[0]: expected a string, found a number"),
        (LANE + f"n = {'[' * 5000}\n", "nests"),
        (LANE + 'paths = ["/a\\nb"]\n', 'found "/a\\nb"'),
        (LANE + 'paths = ["a\\nb["]\n', "a\\nb["),
        (LANE + '"a\\nb" = 1\n', "a\\nb"),
        (LANE + 'title = "a\\nb"\n', "a\\nb"),
    ):
        project.lanes(text)
        sentence = project.here("run", "hello").refused(2)
        assert all(word in sentence for word in words), (words, sentence)
    project.write("ci/forge-lanes.toml", "version = 2\n")
    sentence = project.here("run", "hello").refused(2)
    assert "ci/forge-lanes.toml" in sentence
    assert "version" in sentence
    assert_nothing_was_left(project)


def test_a_syntax_error_in_the_lanes_file_has_line_and_column(project: Project) -> None:
    project.write("ci/forge-lanes.toml", "version = 1\n[[branch.lanes]]\nid = \n")
    for command in (("run", "hello"), ("lanes",), ("targets",)):
        assert "ci/forge-lanes.toml:3:6" in project.here(*command).refused(2)


def test_outside_any_repository_the_user_is_told_where_to_go(unchanged: Project) -> None:
    away = unchanged.at(unchanged.root.parent)
    for command in (("run", "hello"), ("plan", "hello"), ("targets",), ("lanes",)):
        assert "there is no flake.nix" in away.here(*command).refused(2)


def test_a_commit_that_is_not_there_is_named(unchanged: Project) -> None:
    source = f"git+file://{unchanged.root}?rev={'0' * 40}"
    sentence = unchanged.here("run", "hello", "--source", source).refused()
    assert "there is no commit 000000" in sentence


def edit(path: Path, change: Callable[[Json], object]) -> None:
    values = json.loads(path.read_bytes())
    change(values)
    path.write_text(json.dumps(values))


def test_a_plan_of_a_later_schema_is_not_run(project: Project) -> None:
    project.run("hello")
    edit(project.run_dir() / "plan.json", lambda plan: plan.update(schema_version=2))
    sentence = project.here("rerun", "latest").refused(2)
    assert "plan.json" in sentence
    assert "schema" in sentence
    assert len(project.run_ids()) == 1


def test_a_taken_run_id_is_refused_and_the_run_kept(project: Project) -> None:
    project.run("hello", "--run-id", RUN_ID)
    before = project.record(RUN_ID)
    assert RUN_ID in project.here("run", "hello", "--run-id", RUN_ID).refused(2)
    assert project.record(RUN_ID) == before
    assert project.run_ids() == [RUN_ID]


def test_of_two_processes_with_one_run_id_one_runs(project: Project) -> None:
    project.define('  slow.jobs.it.command = "sleep 0.5";')
    both = [project.start("run", "slow", "--run-id", RUN_ID) for _ in range(2)]
    done = sorted((finish(each) for each in both), key=lambda done: done.code)
    assert [each.code for each in done] == [0, 2]
    assert RUN_ID in done[1].refused(2)
    assert project.run_ids() == [RUN_ID]
    assert project.record(RUN_ID)["status"] == "passed"


def test_a_file_in_place_of_the_state_root_is_refused(project: Project) -> None:
    project.state.write_text("mine")
    for command in (("run", "hello"), ("plan", "hello"), ("targets",), ("gc",), ("reap",)):
        sentence = project.here(*command).refused(75)
        assert f"the state root {project.state} can't be written" in sentence
    assert project.state.read_text() == "mine"


def test_a_state_root_that_is_read_only_is_refused_but_can_be_read(project: Project) -> None:
    with mounted(project.state, "16m") as state:
        project.run("hello")
        subprocess.run(["mount", "-o", "remount,ro", state], check=True, timeout=30)
        told = "can't be written: Read-only file system; give another state root"
        assert told in project.here("run", "hello").refused(75)
        (found,) = (
            row
            for row in project.here("doctor", "--json").json["findings"]
            if row["name"] == "state root"
        )
        assert told in f"{found['text']}; {found['hint']}"
        (row,) = project.here("list", "--json").passed().json
        assert row["status"] == "passed"
        project.here("status", "latest").passed()
        project.here("logs", "latest").passed()
        assert len(project.run_ids()) == 1


@pytest.mark.parametrize("kib", [4, 128, 300, 450])
def test_a_full_state_root_ends_in_a_sentence_or_a_record(project: Project, kib: int) -> None:
    project.define("  big.jobs.it.command = \"head -c 2000000 /dev/zero | tr '\\\\0' x\";")
    with mounted(project.state, f"{kib}k"):
        done = project.here("run", "big")
        assert done.code in {1, 75}, done
        assert not done.is_our_fault, done
        for run_id in project.run_ids():
            assert project.record(run_id)["status"] in {"failed", "passed"}
            events = (project.run_dir(run_id) / "events.jsonl").read_bytes()
            assert all(json.loads(line) for line in events.splitlines())
        if not project.run_ids():
            done.refused(done.code)
        assert not project.here("list").is_our_fault


@pytest.mark.parametrize("kib", [80, 160, 240])
def test_a_tiny_disk_is_the_machines_fault_and_gc_makes_room(project: Project, kib: int) -> None:
    with mounted(project.state, f"{kib}k"):
        sentence = project.here("run", "hello").refused(75)
        assert str(project.state) in sentence
        assert "No space left" in sentence or "is full" in sentence
        free = os.statvfs(project.state).f_bavail
        project.here("gc", "--keep-runs", "0").passed()
        assert os.statvfs(project.state).f_bavail > free


def test_a_disk_that_fills_up_during_a_run_still_ends_in_a_record(project: Project) -> None:
    project.define('  fills.jobs.it.command = "sleep 1.5; echo more";')
    with mounted(project.state, "4m"):
        running = project.start("run", "fills", "--output", "jsonl")
        wait_for(lambda: project.run_ids() and len(project.events()) > 3)
        fill(project.state)
        done = finish(running)
        assert not done.is_our_fault, done
        record = project.record()
        assert record["status"] in {"failed", "passed"}
        assert record["failure_kind"] in {None, "infrastructure"}
        assert project.events()[-1]["event"] == "run_finished"
        assert not (project.run_dir() / "reserve").exists()


def test_a_target_only_for_another_kind_of_machine_is_refused(project: Project) -> None:
    project.define(HELLO)
    flake = (project.root / "flake.nix").read_text()
    project.write("flake.nix", flake.replace(project.system, "aarch64-darwin"))
    project.write("targets.nix", 'system: { hello.jobs.it.command = "true"; }')
    sentence = project.here("run", "hello").refused(2)
    assert "aarch64-darwin" in sentence
    assert_nothing_was_left(project)


def test_a_nix_that_is_too_old_is_refused(project: Project) -> None:
    says = '*--version*) echo "nix (Nix) 2.3.16";; *) echo "error: what?" >&2; exit 1;;'
    old = project.shimmed("nix", f'case "$*" in {says} esac')
    sentence = old.here("run", "hello").refused(2)
    assert "Nix 2.3.16 is too old; pikaci needs 2.18 or later" in sentence


@pytest.mark.parametrize("printed", ["loading the environment ...", "null", ""])
def test_a_nix_that_prints_something_else_is_said(project: Project, printed: str) -> None:
    chatty = project.shimmed("nix", f"echo '{printed}'; exit 0", of="eval")
    said = chatty.here("run", "hello").refused(75)
    assert f"`nix eval` printed no JSON object: {printed!r}"[:-1] in said
    assert "is nix a script that prints something itself?" in said


def test_a_missing_nix_is_said(project: Project) -> None:
    tools = project.state.with_name("tools")
    tools.mkdir()
    for name in ("git", "setpriv", "bash", "unshare"):
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    sentence = project.with_env(PATH=str(tools)).here("run", "hello").refused(75)
    assert "there is no `nix` on PATH" in sentence


def be_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def be_elsewhere(path: Path) -> None:
    path.parent.rename(path.parents[2] / "elsewhere")
    path.parent.symlink_to("nowhere")


def have_half_a_pair(path: Path) -> None:
    edit(path, lambda run: run.update(target_id="\ud800"))


def end_oddly(path: Path) -> None:
    edit(path, lambda run: run.update(status="running"))
    end = {"run_id": RUN_ID, "status": "passed", "jobs": [{"id": "../../x"}]}
    with (path.parent / "events.jsonl").open("a") as events:
        events.write(json.dumps({"event": "run_finished", "seq": 99, "run": end}) + "\n")


def lose_zone(path: Path) -> None:
    edit(path, lambda run: run.update(finished_at="2026-01-31T23:59:59"))


def test_a_run_that_can_not_be_read_spoils_no_other(project: Project, tmp_path: Path) -> None:
    project.define('  t.jobs.j.command = "true";')
    project.run("t", "--run-id", RUN_ID)
    good = project.run("t")["run_id"]
    run = project.run_dir(RUN_ID)
    shutil.copytree(run, tmp_path / "before")

    def rows() -> dict[str, Json]:
        assert f"{good}  t       passed" in project.here("list").passed().out
        return {row["run_id"]: row for row in project.here("list", "--json").passed().json}

    contents = (b"", b"{", b"[]", b"\xff\x00", b"null", b'{"status": 1}', b"[" * 200_000)
    writing = (partial(Path.write_bytes, data=content) for content in contents)
    damages: list[Callable[[Path], object]] = [*writing, be_a_fifo, have_half_a_pair, be_elsewhere]
    for damage in damages:
        damage(run / "run.json")
        assert rows()[RUN_ID]["unreadable"], damage
        assert "unreadable" in project.here("list").out
        assert "j" in project.here("status", good).passed().out
        project.here("logs", good).passed()
        assert RUN_ID in project.here("status", RUN_ID).refused(2), damage
        if not run.is_symlink():
            assert "nothing to cancel" in project.here("cancel", RUN_ID).refused(2)
            assert "launch_guest passed" in project.here("logs", RUN_ID, "-v").passed().out
            left = (run / "run.json").stat()
            project.here("reap").passed()
            assert (run / "run.json").stat() == left, damage
        project.here("gc", "--keep-runs", "1").passed()
        assert project.run_ids() == [good], damage
        shutil.copytree(tmp_path / "before", run)
    for lie, status in ((end_oddly, "failed"), (lose_zone, "passed")):
        lie(run / "run.json")
        assert not rows()[RUN_ID]["unreadable"]
        assert rows()[RUN_ID]["status"] == status
        remove(run)
        shutil.copytree(tmp_path / "before", run)

"""What `ph` shows of branches and lanes, and how it finds them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fake_forge import FAILED, Answer, branch_routes, lane, run
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

    from fake_forge import Ph, Serve

WIDTH = 80


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserTree:
    """A checkout on feature, with the forge's repository as its remote."""
    tree = UserTree(tmp_path / "work").init()
    tree.commit()
    tree.git("checkout", "--quiet", "-b", "feature")
    tree.git("remote", "add", "origin", "ann@forge:/srv/demo.git")
    monkeypatch.chdir(tree.root)
    return tree


def test_status_is_about_the_branch_that_is_checked_out(
    ph: Ph, serve: Serve, checkout: UserTree
) -> None:
    assert checkout
    with serve(branch_routes(run(FAILED, lane(id=8, name="docs"), state="failed"))) as forge:
        code, out, _ = ph("status")
        assert forge.asked[1].query == {"repo": "demo", "ref": "refs/heads/feature"}
    assert code == 0
    assert out == (
        "feature of demo: open aaaaaaaaaaaa\n"
        "run 3 (branch): failed - all done\n"
        "\n"
        "LANE   ID  STATE    WHY\n"
        "check  7   failed   queued 1m 02s, of which 48 s for group linux held by main\n"
        "                    #2; ran 12 s; test_failure: exit code 3\n"
        "docs   8   success  queued 1.0 s; ran 2.0 s\n"
    )
    assert max(map(len, out.splitlines())) <= WIDTH


def test_a_branch_without_a_run_says_so(ph: Ph, serve: Serve) -> None:
    with serve(branch_routes(None)):
        _, out, _ = ph("status", "feature", "--repo", "demo")
        assert "no run yet" in out


def test_a_run_that_could_not_be_planned_says_why(ph: Ph, serve: Serve) -> None:
    broken = run(state="failed", message="flake.nix: syntax error", hint="fix it", summary="")
    with serve(branch_routes(broken)):
        _, out, _ = ph("status", "feature")
    assert out.endswith("run 3 (branch): failed\nflake.nix: syntax error\nhint: fix it\n")


def test_explain_tells_the_story_of_a_lane(ph: Ph, serve: Serve) -> None:
    with serve(branch_routes(run(FAILED, state="failed"))):
        code, out, _ = ph("explain", "check", "--branch", "feature")
    assert code == 0
    for sentence in (
        "check (lane 7) of run 3: failed\n",
        "it runs because: src/a matches src/**\n",
        "test_failure: exit code 3\nhint: see its log\n",
        "unit: 650 tests, 647 passed, 2 failed, 1 error, 0 skipped\n",
        "  test_sum (t.py:7): assert 1 == 2\n  test_b\n  a.xml: it is cut\n",
        "13:45:00     48 s  waits for group linux, held by main #2\n",
        "attempt 1 on box (pikaci run 20260131T235959Z-0123abcd): failed after 12 s, exit code 1\n",
        "ann did requeue: try again\n",
    ):
        assert sentence in out, out


def test_a_lane_is_named_by_its_number_too(ph: Ph, serve: Serve) -> None:
    with serve(branch_routes(run(FAILED))) as forge:
        assert ph("explain", "7")[0] == 0
        assert [each.path for each in forge.asked] == ["/api/v1/lanes/7"]


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("/srv/demo.git", "git+file:///srv/demo.git"),
        ("/srv/a b'c.git", "git+file:///srv/a%20b%27c.git"),
        ("ann@forge:demo.git", "git+ssh://ann@forge/demo.git"),
        ("ssh://forge/demo.git", "git+ssh://forge/demo.git"),
        ("https://forge/demo.git", "git+https://forge/demo.git"),
    ],
)
def test_repro_is_one_command_with_the_exact_commit(
    ph: Ph, serve: Serve, checkout: UserTree, remote: str, source: str
) -> None:
    checkout.git("remote", "set-url", "origin", remote)
    with serve(branch_routes(run(FAILED))):
        _, out, _ = ph("repro", "7")
    assert out == f"pikaci run check --source '{source}?rev={'a' * 40}'\n"


@pytest.mark.parametrize(
    "args",
    [("status", "feature"), ("explain", "7"), ("repro", "7"), ("wait", "feature"), ("logs", "7")],
)
def test_json_is_json_in_ascii(ph: Ph, serve: Serve, args: tuple[str, ...]) -> None:
    named = lane(title="ä\x1b[2J\x7f")
    routes = {**branch_routes(run(named)), "GET lanes/7/log": Answer(b"a\xff\x1b")}
    with serve(routes):
        code, out, _ = ph(*args, "--json")
    assert code == 0
    assert out.isascii()
    assert all(char == "\n" or char.isprintable() for char in out)
    json.loads(out)


def test_the_repository_is_found_by_the_remote_or_told(
    ph: Ph, serve: Serve, checkout: UserTree
) -> None:
    routes = branch_routes(run())
    routes["GET repos"] = [
        {"id": 1, "name": "other", "path": "/srv/other.git"},
        {"id": 2, "name": "renamed", "path": "/srv/demo.git"},
    ]
    with serve(routes) as forge:
        ph("status")
        assert forge.asked[1].query["repo"] == "renamed"
        checkout.git("remote", "remove", "origin")
        code, _, err = ph("status")
        assert code == 2
        assert "the server has other, renamed" in err
        assert ph("status", "--repo", "other")[0] == 0
        assert ph("status", "--repo", "missing")[0] == 2


def test_a_branch_or_lane_that_is_not_there_is_a_wrong_use(ph: Ph, serve: Serve) -> None:
    routes = branch_routes(run(FAILED))
    with serve({**routes, "GET branches": {"branches": []}}):
        nothing = "ph: the server has no branch x of demo\nhint: push it\n"
        assert ph("status", "x") == (2, "", nothing)
        assert ph("status")[2] == "ph: no branch is checked out here\nhint: name the branch\n"
    with serve(routes):
        code, _, err = ph("logs", "nope", "--branch", "feature")
    assert code == 2
    assert "run 3 has no lane nope\nhint: it has check;" in err


def test_wait_exits_with_the_verdict(ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ph.commands.watch.LOOK_SECS", 0.01)

    def branches(*states: str) -> dict[str, Any]:
        routes = branch_routes(run())
        one = routes["GET branches/5"]
        found = [Answer({**one, "run": None})]
        found += [Answer({**one, "run": run(lane(state=each), state=each)}) for each in states]
        return {**routes, "GET branches/5": found}

    for states, code in (
        (("planning", "queued", "running", "success"), 0),
        (("running", "failed"), 1),
        (("skipped",), 0),
        (("cancelled",), 1),
    ):
        with serve(branches(*states)):
            assert ph("wait", "feature")[0] == code, states
        with serve(branches(*states)):
            code_of_watch, out, _ = ph("watch", "feature")
            assert code_of_watch == code
            assert all(state in out for state in states)


def test_waiting_ends_when_it_is_told_to(ph: Ph, serve: Serve) -> None:
    with serve(branch_routes(run(state="running"))):
        code, _, err = ph("wait", "feature", "--timeout", "0")
    assert (code, err) == (1, "ph: it has not ended in time\n")


def test_waiting_is_for_the_run_of_what_was_pushed(
    ph: Ph, serve: Serve, checkout: UserTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ph.commands.watch.LOOK_SECS", 0.01)
    old = checkout.git("rev-parse", "HEAD").decode().strip()
    new = checkout.commit()
    checkout.git("update-ref", "refs/remotes/origin/feature", new)

    def at(head: str, of_run: str, state: str) -> Answer:
        detail = branch_routes(run(head=of_run, state=state))["GET branches/5"]
        return Answer({**detail, "line": {**detail["line"], "head": head}})

    unseen, unplanned = at(old, old, "failed"), at(new, old, "failed")
    seen = [unseen, unplanned, at(new, new, "success")]
    with serve({**branch_routes(run()), "GET branches/5": seen}):
        assert ph("wait")[0] == 0
    another = at("b" * 40, "b" * 40, "failed")
    with serve({**branch_routes(run()), "GET branches/5": [another]}):
        assert ph("wait")[0] == 1
    monkeypatch.setattr("ph.commands.watch.NO_RUN_SECS", 0.1)
    with serve({**branch_routes(run()), "GET branches/5": [unseen]}):
        code, _, err = ph("wait")
    assert code == 1
    assert "the server has no run of what was pushed" in err

"""What `ph` has the server do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fake_forge import Answer, Json, branch_routes, lane, refusal, run
from ph.server import Server

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from fake_forge import Ph, Serve

DONE = {"done": "it is done"}
BEGAN = {"run_id": 9}


@pytest.mark.parametrize(
    ("args", "path", "body"),
    [
        ("cancel check --branch feature", "lanes/7/cancel", {"why": "w"}),
        ("cancel --run 3", "runs/3/cancel", {"why": "w"}),
        ("cancel --branch feature", "runs/3/cancel", {"why": "w"}),
        ("requeue 7", "lanes/7/requeue", {"why": "w"}),
        ("fail 7", "lanes/7/fail", {"why": "w"}),
        ("wake 7", "lanes/7/wake", {"why": "w"}),
        ("recover 3", "runs/3/recover", {"why": "w"}),
        ("close feature", "branches/5/close", {"why": "w"}),
        ("queue pause", "queue/pause", {"why": "w"}),
        ("queue resume", "queue/resume", {"why": "w"}),
        ("drain box/1", "workers/box%2F1/drain", {"why": "w"}),
        ("resume box", "workers/box/resume", {"why": "w"}),
        ("health clear host box", "health/clear", {"kind": "host", "name": "box", "why": "w"}),
        (
            "health clear target t",
            "health/clear",
            {"kind": "target", "name": "t", "repo": "demo", "why": "w"},
        ),
    ],
)
def test_each_act_says_why_and_what_was_done(
    ph: Ph, serve: Serve, args: str, path: str, body: dict[str, Any]
) -> None:
    with serve({**branch_routes(run(lane())), f"POST {path}": DONE}) as forge:
        assert ph(*args.split(), "--why", "w") == (0, "it is done\n", "")
        assert forge.posted() == [(f"/api/v1/{path}", body)]


@pytest.mark.parametrize(
    ("args", "path", "body"),
    [
        ("rerun 7", "lanes/7/rerun", {"why": ""}),
        ("rerun --run 3", "runs/3/rerun", {"why": ""}),
        (
            "run feature --lane check --lane docs",
            "runs",
            {"repo": "demo", "why": "", "ref": "refs/heads/feature", "lanes": ["check", "docs"]},
        ),
        (
            "run refs/tags/v1 --target hello",
            "runs",
            {"repo": "demo", "why": "", "ref": "refs/tags/v1", "targets": ["hello"]},
        ),
        ("nightly run", "nightly/run", {"repo": "demo", "why": ""}),
    ],
)
def test_what_begins_a_run_says_which(
    ph: Ph, serve: Serve, args: str, path: str, body: dict[str, Any]
) -> None:
    with serve({**branch_routes(run(lane())), f"POST {path}": BEGAN}) as forge:
        assert ph(*args.split()) == (0, "run 9: `ph wait --run 9`\n", "")
        assert forge.posted() == [(f"/api/v1/{path}", body)]


def test_what_is_audited_needs_a_why(ph: Ph, serve: Serve) -> None:
    with serve(branch_routes(run(lane()))) as forge:
        code, _, err = ph("cancel", "7")
        assert (code, forge.posted()) == (2, [])
    assert "say why, with --why TEXT" in err


@pytest.mark.parametrize(
    "args", [("cancel", "--why", "w"), ("run", "feature"), ("rerun", "7", "--run", "1")]
)
def test_what_is_not_said_clearly_is_not_done(ph: Ph, serve: Serve, args: tuple[str, ...]) -> None:
    with serve(branch_routes(run(lane()))) as forge:
        assert ph(*args)[0] == 2
        assert forge.posted() == []


def test_a_merge_says_by_which_commit(ph: Ph, serve: Serve) -> None:
    merged = {
        "state": "merged",
        "merge_commit": "b" * 40,
        "run_id": None,
        "message": "merged into main",
    }
    with serve({**branch_routes(run()), "POST branches/5/merge": merged}) as forge:
        assert ph("merge", "feature") == (0, f"merged into main: {'b' * 40}\n", "")
        assert ph("merge", "feature", "--force", "--why", "urgent")[0] == 0
        assert [body for _, body in forge.posted()] == [
            {"why": "", "force": False},
            {"why": "urgent", "force": True},
        ]


def test_a_merge_may_take_the_server_minutes(
    ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []

    def connection(self: Server, secs: float) -> HTTPConnection:
        waits.append(secs)
        return connect(self, secs)

    connect = Server._connection
    monkeypatch.setattr(Server, "_connection", connection)
    merged = {"state": "merged", "merge_commit": "b" * 40, "message": "merged into main"}
    with serve({**branch_routes(run()), "POST branches/5/merge": merged}):
        assert ph("merge", "feature")[0] == 0
    assert waits.pop() == 600
    assert set(waits) == {30}


def test_a_refused_merge_says_why(ph: Ph, serve: Serve) -> None:
    red = refusal(409, "lane check failed (test_failure) in run 3", "`ph status` shows the lanes")
    with serve({**branch_routes(run()), "POST branches/5/merge": red}):
        code, _, err = ph("merge", "feature")
    assert code == 1
    assert err.startswith("ph: lane check failed (test_failure) in run 3\nhint: ")


WAITING = {"state": "waiting", "merge_commit": "b" * 40, "run_id": 3, "message": "runs check"}


def merging(states: list[str], ends: list[str]) -> dict[str, Any]:
    """A merge whose branch has these states, and whose run has those."""
    routes = branch_routes(run())
    one = routes["GET branches/5"]
    lines = [{**one, "line": {**one["line"], "state": state}} for state in ["open", *states]]
    routes["GET branches/5"] = [Answer(each) for each in lines]
    routes["GET runs/3"] = [Answer(run(state=state)) for state in ends]
    return {**routes, "POST branches/5/merge": WAITING}


def test_a_merge_waits_for_its_lanes_if_it_is_told_to(
    ph: Ph, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ph.commands.merge.LOOK_SECS", 0.01)
    monkeypatch.setattr("ph.commands.merge.SETTLE_SECS", 0.1)
    with serve(merging(["open"], ["running"])):
        assert ph("merge", "feature") == (0, f"runs check: {'b' * 40}\n", "")
    with serve(merging(["open", "open", "merged"], ["running", "success"])):
        assert ph("merge", "feature", "--wait")[0] == 0
    with serve(merging(["open"], ["running", "failed"])):
        code, _, err = ph("merge", "feature", "--wait")
        assert (code, err) == (1, "ph: not merged: run 3, on the merge result, is failed\n")
    with serve(merging(["open"], ["success"])):
        assert "a branch moved meanwhile" in ph("merge", "feature", "--wait")[2]


def test_a_token_is_printed_alone(ph: Ph, serve: Serve) -> None:
    made = Answer({"id": 1, "name": "ci", "secret": "ph_new"}, 201)
    with serve({"POST tokens": made, "DELETE tokens/1": DONE}) as forge:
        assert ph("admin", "token", "ci", "--role", "read") == (0, "ph_new\n", "")
        assert forge.posted() == [("/api/v1/tokens", {"name": "ci", "role": "read"})]
        assert ph("admin", "revoke", "1")[0] == 0


@pytest.mark.parametrize(
    ("args", "route", "answer", "shown"),
    [
        (
            "queue",
            "queue",
            {
                "now": 100,
                "paused": "disk",
                "running": [
                    {"id": 1, "name": "a", "repo": "demo", "ref": "refs/heads/main", "run_id": 2}
                ],
                "waiting": [{"id": 3, "name": "b", "wait": {"words": "waits for a free slot"}}],
                "workers": [
                    {"name": "box", "state": "active", "busy": 1, "slots": 2, "seen_at": 98}
                ],
                "next": "abc",
            },
            [
                "paused: disk",
                "a of demo main #2",
                "waits for a free slot",
                "box     active",
                "--cursor abc",
            ],
        ),
        (
            "queue",
            "queue",
            {"running": [], "waiting": [], "workers": []},
            ["nothing runs or waits"],
        ),
        (
            "health",
            "health",
            {
                "now": 100,
                "lines": [{"kind": "host", "name": "box", "state": "closed", "words": "until x"}],
                "events": [{"at": 40, "name": "box", "what": "closed", "why": "no disk"}],
            },
            ["host  box   closed  until x", "1m 00s ago", "no disk"],
        ),
        ("health", "health", {"lines": []}, ["every target and host is open"]),
        (
            "nightly",
            "nightly",
            {
                "slots": [
                    {"repo": "demo", "slot_at": 0, "state": "run", "run": {"id": 4, "state": "x"}}
                ]
            },
            ["1970-01-01 00:00", "run 4: x"],
        ),
        (
            "repo list",
            "repos",
            [{"name": "demo", "default_branch": "refs/heads/main", "path": "/srv/demo.git"}],
            ["demo  main     fine   /srv/demo.git"],
        ),
        (
            "repo list",
            "repos",
            [{"name": "demo", "path": "/srv/demo.git", "error": "it is gone"}],
            ["it is gone"],
        ),
        (
            "admin tokens",
            "tokens",
            [{"id": 1, "role": "read", "name": "ci", "revoked_at": None, "used_at": None}],
            ["1   read  never used  ci"],
        ),
        (
            "admin audit",
            "audit",
            {"entries": [{"who": "ann", "action": "cancel", "subject": "lane 7", "why": "w"}]},
            ["ann  cancel  lane 7  w"],
        ),
    ],
)
def test_lists_read_well(
    ph: Ph, serve: Serve, args: str, route: str, answer: Json, shown: list[str]
) -> None:
    with serve({f"GET {route}": answer}):
        code, out, _ = ph(*args.split())
        assert code == 0
        assert [each for each in shown if each not in out] == [], out
        assert ph(*args.split(), "--json")[0] == 0


def test_a_repository_is_registered(ph: Ph, serve: Serve) -> None:
    with serve({"POST repos": Answer({"id": 1}, 201)}) as forge:
        assert ph("repo", "add", "demo", "/srv/demo.git")[0] == 0
        assert ph("repo", "add", "demo", "/srv/demo.git", "--default-branch", "trunk")[0] == 0
        values = {"name": "demo", "path": "/srv/demo.git"}
        assert [body for _, body in forge.posted()] == [
            values,
            {**values, "default_branch": "refs/heads/trunk"},
        ]

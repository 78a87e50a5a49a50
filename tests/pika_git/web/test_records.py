from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project
from forge_scenes import Scene, lane

if TYPE_CHECKING:
    from pathlib import Path

    from served import Served

TARGETS = """
  two.jobs.first.command = "echo one; echo two >&2; printf 'bytes \\\\377'";
  two.jobs.second.command = ''
    echo '<testsuite><testcase name="sum &lt;b&gt;" classname="t"><failure message="1 is not 2"/>
    </testcase><testcase name="good"/></testsuite>' > $PIKACI_ARTIFACTS/report.xml
    exit 3
  '';
"""


def ran(scene: Scene, tmp_path: Path) -> tuple[str, Path]:
    """A lane whose run is a real one of pikaci; its id and directory."""
    scene.run(scene.branch(scene.repo(), "main"), [lane("a", target="two")])
    claim = scene.claim(scene.worker())
    (tmp_path / "project").mkdir()
    project = Project.committed(tmp_path / "project", TARGETS)
    state = scene.data.state_root(claim.repo_id)
    project.with_env(PIKACI_STATE_ROOT=str(state)).pikaci(
        "run", "two", "--run-id", claim.pikaci_run_id
    )
    scene.finish(claim, "failed", failure_kind="test_failure")
    return claim.pikaci_run_id, state / "runs" / claim.pikaci_run_id


def test_the_records_of_a_real_run_are_read(served: Served, scene: Scene, tmp_path: Path) -> None:
    run_id, directory = ran(scene, tmp_path)
    caller = served.caller("read")
    record = caller.get(f"/api/v1/pikaci/runs/{run_id}").json()
    assert record == {**json.loads((directory / "run.json").read_text()), "problems": []}
    assert [job["status"] for job in record["jobs"]] == ["passed", "failed"]

    log = caller.get("/api/v1/lanes/1/log?job=first")
    kept = (directory / "jobs/first/attempts/1/host.log").read_bytes()
    assert log.content == kept
    assert b"one\n" in kept
    assert kept.endswith(b"bytes \xff") or b"bytes \xff" in kept
    headers = {name: log.headers[f"x-{name}"] for name in ("next-offset", "size", "over", "job")}
    size = str(len(kept))
    assert headers == {"next-offset": size, "size": size, "over": "true", "job": "first"}

    texts = caller.get(f"/api/v1/pikaci/runs/{run_id}/logs?kind=host").json()
    found = {(row["job_id"], row["kind"]): row["size"] for row in texts}
    assert found["first", "host"] == len(kept)
    assert texts[0]["text"] == kept.decode("utf-8", "replace")

    (of_lane,) = caller.get("/api/v1/branches/1/logs").json()
    assert of_lane["lane"]["pikaci_run_id"] == run_id
    assert of_lane["pikaci_run"] == record
    sizes = {(row["job_id"], row["kind"]): row["bytes"] for row in of_lane["pikaci_log_metadata"]}
    assert sizes["first", "host"] == len(kept)

    (of_second,) = caller.get("/api/v1/lanes/1").json()["tests"]
    assert (of_second["job"], of_second["tests"]) == ("second", record["jobs"][1]["tests"])
    page = caller.get("/lanes/1").text
    assert "second: 2 tests, 1 failed" in page
    assert "<strong>sum &lt;b&gt;</strong>" in page
    assert "<pre>1 is not 2</pre>" in page
    assert record["message"] == "1 of 2 tests failed: sum <b>"

    prepared = caller.get(f"/api/v1/pikaci/runs/{run_id}/prepared-outputs").json()
    assert (prepared["run_id"], prepared["outputs"]) == (run_id, [])
    events = caller.get("/api/v1/lanes/1/events").json()
    assert [events["events"][at]["event"] for at in (0, -1)] == ["run_started", "run_finished"]
    assert events["is_over"] is True
    more = caller.get(f"/api/v1/lanes/1/events?offset={events['next_offset']}").json()
    assert more["events"] == []


@pytest.fixture
def record(scene: Scene) -> Path:
    """The directory of a run that is over, whose log has 10 bytes."""
    scene.run(scene.branch(scene.repo(), "main"), [lane("a"), lane("b")])
    claim = scene.claim(scene.worker())
    root = scene.record(claim, "passed", b"0123456789", begun=scene.now, secs=1)
    scene.finish(claim)
    return root


@pytest.mark.parametrize(
    ("query", "data", "following"),
    [
        ("", b"0123456789", 10),
        ("offset=4", b"456789", 10),
        ("offset=4&limit=2", b"45", 6),
        ("offset=-3", b"789", 10),
        ("offset=-99", b"0123456789", 10),
        ("offset=99", b"", 10),
        ("kind=guest", b"", 0),
        ("kind=host&offset=9", b"9", 10),
    ],
)
@pytest.mark.usefixtures("record")
def test_a_part_of_a_log_is_read(served: Served, query: str, data: bytes, following: int) -> None:
    answer = served.caller("read").get(f"/api/v1/lanes/1/log?{query}")
    assert (answer.content, answer.headers["x-next-offset"]) == (data, str(following))
    assert answer.headers["x-over"] == str(not query.endswith("limit=2")).lower()
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_both_logs_are_one_after_the_other(served: Served, record: Path) -> None:
    (record / "jobs/test/attempts/1/guest.log").write_bytes(b"abc")
    caller = served.caller("read")
    assert caller.get("/api/v1/lanes/1/log").content == b"0123456789abc"
    assert caller.get("/api/v1/lanes/1/log?offset=8&limit=3").content == b"89a"
    assert caller.get("/api/v1/lanes/1/log?offset=11").content == b"bc"


def test_of_a_large_log_only_what_is_asked_for_is_read(served: Served, record: Path) -> None:
    path = record / "jobs/test/attempts/1/host.log"
    with path.open("wb") as file:
        file.truncate(200 * 1024**2)
        file.seek(0, 2)
        file.write(b"the end\n")
    caller = served.caller("read")
    answer = caller.get("/api/v1/lanes/1/log?offset=-8")
    assert (answer.content, answer.headers["x-size"]) == (b"the end\n", str(200 * 1024**2 + 8))
    assert len(caller.get("/api/v1/lanes/1/log").content) == 64 * 1024
    assert caller.get("/api/v1/lanes/1/log?limit=999999999").status_code == 422
    (text, _) = caller.get(f"/api/v1/pikaci/runs/{record.name}/logs").json()
    assert len(text["text"]) == 64 * 1024


def test_a_log_that_is_a_link_is_not_followed(served: Served, record: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = record / "jobs/test/attempts/1/host.log"
    path.unlink()
    path.symlink_to(secret)
    caller = served.caller("read")
    assert caller.get("/api/v1/lanes/1/log").content == b""
    assert "secret" not in caller.get(f"/api/v1/pikaci/runs/{record.name}/logs").text


@pytest.mark.usefixtures("record")
def test_a_lane_that_has_not_begun_has_no_log(served: Served) -> None:
    answer = served.caller("read").get("/api/v1/lanes/2/log")
    assert answer.status_code == 404
    assert "no attempt yet" in answer.json()["error"]["message"]
    lanes = served.caller("read").get("/api/v1/branches/1/logs").json()
    assert [row["pikaci_run"] is None for row in lanes] == [False, True]


def test_a_job_that_is_none_is_missing(served: Served, record: Path) -> None:
    caller = served.caller("read")
    for job in ("other", "../test", "", "%00"):
        for path in ("lanes/1/log", "lanes/1/log/stream", f"pikaci/runs/{record.name}/logs"):
            answer = caller.get(f"/api/v1/{path}?job={job}")
            assert answer.status_code == 404, (path, job)
    hint = caller.get("/api/v1/lanes/1/log?job=other").json()["error"]["hint"]
    assert hint == "it has test"


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff", b'{"schema_version": 99}', b"[" * 99]
)
def test_a_damaged_record_is_said_and_the_rest_is_shown(
    served: Served, record: Path, damage: bytes
) -> None:
    for name in ("run.json", "prepared-outputs.json", "jobs/test/status.json"):
        (record / name).write_bytes(damage)
    caller = served.caller("read")
    for path in (f"pikaci/runs/{record.name}", f"pikaci/runs/{record.name}/prepared-outputs"):
        answer = caller.get(f"/api/v1/{path}")
        assert answer.status_code == 200
        assert answer.json()["run_id"] == record.name
        assert answer.json()["problems"]
    assert caller.get("/api/v1/lanes/1/log").content == b"0123456789"
    assert caller.get("/api/v1/branches/1/logs").status_code == 200
    assert caller.get("/api/v1/lanes/1/events").status_code == 200
    assert caller.get("/api/v1/lanes/1/log/stream").text.endswith(
        'event: end\ndata: {"size": 10, "next_job_attempt": null}\n\n'
    )


def test_records_that_were_removed_are_gone(served: Served, record: Path) -> None:
    import shutil

    shutil.rmtree(record)
    caller = served.caller("read")
    for path in (f"pikaci/runs/{record.name}", "lanes/1/log", "lanes/1/events"):
        answer = caller.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone"), path
    (first, _) = caller.get("/api/v1/branches/1/logs").json()
    assert first["pikaci_run"] is None
    assert first["problems"]


def test_a_run_that_the_forge_did_not_begin_is_not_shown(served: Served, record: Path) -> None:
    other = record.with_name("20200101T000000Z-00000000")
    record.rename(other)
    caller = served.caller("read")
    assert caller.get(f"/api/v1/pikaci/runs/{other.name}").status_code == 404

"""`pikaci run --copy-to STORE`, to stores of Nix in a directory and behind HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from binary_cache import BinaryCache, binary_cache
from e2e.project import Project, finish, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGETS = """
  quick = {
    prepare.one.drv = build "one" "echo one > $out";
    jobs.use = { needs = [ "one" ]; command = "cat $PIKACI_INPUT_ONE"; };
  };
  several = {
    prepare.two.drv = build "two" "echo two > $out";
    prepare.three.drv = build "three" "echo three > $out";
    prepare.broken.drv = build "broken" "exit 1";
    prepare.sheet = { hostCommand.command = "touch x"; hostCommand.outputs = [ "x" ]; };
    jobs.use = { needs = [ "two" "three" "sheet" ]; command = "true"; };
    jobs.fail = { needs = [ "broken" ]; command = "true"; };
  };
  waiting = {
    prepare.early.drv = build "early" "echo early > $out";
    jobs.see = {
      needs = [ "early" ];
      command = ''
        name=$(basename "$PIKACI_INPUT_EARLY")
        until [ -e "@cache@/''${name%%-*}.narinfo" ]; do sleep 0.1; done
      '';
      timeoutSecs = 60;
    };
  };
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.committed(tmp_path, TARGETS.replace("@cache@", str(tmp_path / "cache")))


@pytest.fixture
def cache() -> Iterator[BinaryCache]:
    with binary_cache() as cache:
        yield cache


def copies(project: Project) -> dict[str, list[dict[str, Any]]]:
    """What became of the copies of the last run, by the name of the derivation."""
    values = json.loads((project.run_dir() / "prepared-outputs.json").read_text())
    return {row["node_id"].rpartition("-")[0]: row["copies"] for row in values["outputs"]}


def paths(project: Project) -> list[str]:
    values = json.loads((project.run_dir() / "prepared-outputs.json").read_text())
    return [row["path"] for row in values["outputs"] if row["drv_path"] and row["path"]]


def test_an_output_is_in_the_store_while_jobs_still_run(project: Project, tmp_path: Path) -> None:
    store = f"file://{tmp_path}/cache"
    project.run("waiting", "--copy-to", store)
    assert copies(project)["early"] == [{"store": store, "outcome": "passed", "message": None}]
    (path,) = paths(project)
    argv = ["nix", "--extra-experimental-features", "nix-command", "path-info", "--store", store]
    subprocess.run([*argv, path], check=True, stdout=subprocess.DEVNULL)


def test_a_cache_gets_what_it_has_not_of_runs_that_fail_too(
    project: Project, cache: BinaryCache
) -> None:
    done = project.here("run", "several", "--copy-to", cache.url)
    assert done.code == 1
    assert "not copied" not in done.err
    (sheet,) = project.run_dir().glob("prepared/*")
    given = [name for name in cache.given if name.endswith(".narinfo")]
    hashes = [path.rpartition("/")[2].partition("-")[0] for path in paths(project)]
    assert sorted(given) == sorted(f"/{name}.narinfo" for name in hashes)
    found = copies(project)
    assert found["two"][0]["outcome"] == found["three"][0]["outcome"] == "passed"
    assert found["broken"] == []
    assert sheet.name not in str(cache.given)
    cache.given.clear()
    project.here("run", "several", "--copy-to", cache.url)
    assert cache.given == []


def test_a_store_that_takes_nothing_decides_nothing(project: Project, cache: BinaryCache) -> None:
    cache.files["/nix-cache-info"] = b"StoreDir: /nix/store\n"
    cache.refuse = 403
    done = project.here("run", "quick", "--copy-to", cache.url, "--output", "json").passed()
    (note,) = done.json["notes"]
    assert "was not copied to" in note
    assert "HTTP error 403" in note
    assert f"pikaci: {note}" in done.err
    assert f"note     {note}" in project.here("status").passed().out
    (copy,) = copies(project)["one"]
    assert copy["outcome"] == "failed"


def test_of_several_outputs_that_could_not_be_copied_one_sentence_tells(
    project: Project,
) -> None:
    done = project.here("run", "several", "--copy-to", "nowhere://user:secret@host")
    (line,) = (line for line in done.err.splitlines() if "not copied" in line)
    assert line.startswith("pikaci: 2 prepares, ")
    assert "to nowhere://user:***@host: " in line
    assert "secret" not in done.err


def test_a_store_that_does_not_answer_is_waited_for_no_longer_than_a_while(
    project: Project, cache: BinaryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.run.prepare.COPIES_END_SECS", 2.5)
    cache.hang = threading.Event()
    done = project.here("run", "quick", "--copy-to", cache.url).passed()
    assert f"not copied to {cache.url}: it took more than 2.5 s after the jobs" in done.err
    beats = [event for event in project.events() if event["event"] == "heartbeat"]
    assert ["one"] in [beat["copying"] for beat in beats]
    assert "cancelled" in project.here("prepared-outputs").passed().out


def test_a_cancel_does_not_wait_for_copies(project: Project, cache: BinaryCache) -> None:
    cache.hang = threading.Event()
    started = project.start("run", "quick", "--copy-to", cache.url)
    wait_for(lambda: project.run_ids() and "job_finished" in str(project.events()))
    time.sleep(2)  # the jobs are over, and so is the verdict
    started.send_signal(signal.SIGINT)
    done = finish(started, 20)
    assert "not copied" in done.err
    assert project.record()["status"] == "passed"
    assert done.code == 0


def test_runs_of_a_batch_copy_an_output_once(project: Project, cache: BinaryCache) -> None:
    done = project.here("run", "quick", "several", "--copy-to", cache.url, "--jobs", "1")
    assert "not copied" not in done.err
    narinfos = [name for name in cache.given if name.endswith(".narinfo")]
    assert len(narinfos) == len(set(narinfos)) == 3

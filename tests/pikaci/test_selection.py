from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import CatalogError, UsageError
from pikaci.lanes import parse_lanes
from pikaci.selection import (
    Selection,
    SelectionReport,
    select,
    select_change,
    target_filter,
)
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

LANES = parse_lanes(
    b"""
version = 1
nightly_schedule_utc = "02:30"
[[branch.lanes]]
id = "rust"
target = "linux"
paths = ["rust/**", "*.lock"]
concurrency_group = "big"
[[branch.lanes]]
id = "docs"
target = "docs"
paths = ["**/*.md"]
[[branch.lanes]]
id = "always"
title = "Always"
target = "smoke"
[[branch.lanes]]
id = "android"
target = "linux"
paths = ["android/**"]
[[nightly.lanes]]
id = "night"
target = "slow"
paths = ["**"]
""",
    "ci/forge-lanes.toml",
)


def found(lane_id: str, *changed: str) -> Selection:
    return next(each for each in select(LANES, changed) if each.lane.id == lane_id)


@pytest.mark.parametrize(
    ("lane", "changed", "selected", "reason"),
    [
        ("rust", ["rust/src/a.rs"], True, "rust/src/a.rs matches rust/**"),
        ("rust", ["README", "Cargo.lock", "rust/a"], True, "Cargo.lock matches *.lock"),
        ("rust", ["a/Cargo.lock"], False, "none of 1 changed file matches its 2 globs"),
        ("docs", ["a", "b"], False, "none of 2 changed files matches its 1 glob"),
        ("docs", [], False, "none of 0 changed files matches its 1 glob"),
        ("docs", ["a\nb\x1b\udcff.md"], True, "a\\nb\\x1b\\xff.md matches **/*.md"),
        ("always", ["x"], True, "no path filter: always"),
        ("always", [], True, "no path filter: always"),
        ("night", ["x"], False, "nightly at 02:30 UTC, not selected by changes"),
    ],
)
def test_a_lane_is_selected_or_not_and_says_why(
    lane: str, changed: list[str], *, selected: bool, reason: str
) -> None:
    selection = found(lane, *changed)
    assert (selection.selected, selection.reason) == (selected, reason)


def report(*changed: str) -> SelectionReport:
    return SelectionReport("a" * 40, "b" * 40, changed, tuple(select(LANES, changed)))


def test_the_json_form_says_all_of_it_in_the_files_order() -> None:
    answer = json.loads(json.dumps(report("a", "rust/b").as_dict()))
    lanes = answer.pop("lanes")
    assert [lane["id"] for lane in lanes] == ["rust", "docs", "always", "android", "night"]
    assert answer == {
        "schema_version": 1,
        "base": "a" * 40,
        "head": "b" * 40,
        "changed_files": ["a", "rust/b"],
    }
    assert lanes[0] == {
        "id": "rust",
        "title": "rust",
        "target": "linux",
        "trigger": "branch",
        "concurrency_group": "big",
        "selected": True,
        "reason": "rust/b matches rust/**",
        "matched_path": "rust/b",
        "matched_glob": "rust/**",
    }
    assert (lanes[1]["selected"], lanes[1]["matched_path"]) == (False, None)
    assert lanes[4]["trigger"] == "nightly"


def test_the_json_form_is_utf8_whatever_the_file_names_are() -> None:
    answer = report("rust/\udcff").as_dict()
    assert json.dumps(answer, ensure_ascii=False).encode()
    assert answer["changed_files"] == ["rust/\\xff"]


def test_the_text_form_lists_selected_lanes_first() -> None:
    assert report("docs/a.md").as_text().splitlines() == [
        "2 of 5 lanes selected by 1 changed file (aaaaaaaaaaaa...bbbbbbbbbbbb)",
        "  + docs     docs/a.md matches **/*.md",
        "  + always   no path filter: always",
        "  - rust     none of 1 changed file matches its 2 globs",
        "  - android  none of 1 changed file matches its 1 glob",
        "  - night    nightly at 02:30 UTC, not selected by changes",
    ]


def test_the_text_form_of_no_lanes_is_a_line() -> None:
    assert SelectionReport("a", "b", (), ()).as_text() == (
        "0 of 0 lanes selected by 0 changed files (a...b)"
    )


@pytest.mark.parametrize(
    ("target", "changed", "runs", "reason"),
    [
        ("linux", ["android/a"], True, "lane android: android/a matches android/**"),
        (
            "linux",
            ["README"],
            False,
            (
                "lane rust: none of 1 changed file matches its 2 globs;"
                " lane android: none of 1 changed file matches its 1 glob"
            ),
        ),
        ("smoke", [], True, "lane always: no path filter: always"),
        ("slow", [], True, "no branch lane of ci/forge-lanes.toml filters it"),
        ("manual", [], True, "no branch lane of ci/forge-lanes.toml filters it"),
    ],
)
def test_a_target_runs_if_one_of_its_branch_lanes_is_selected(
    target: str, changed: list[str], *, runs: bool, reason: str
) -> None:
    assert target_filter(LANES, target, changed)[:2] == (runs, reason)


def test_a_target_filter_names_the_globs_it_asked() -> None:
    assert target_filter(LANES, "linux", [])[2] == ("rust/**", "*.lock", "android/**")


def git(repo: Path, *args: str) -> str:
    return UserTree(repo).git(*args).decode().strip()


def commit(repo: Path, path: str, content: str) -> str:
    UserTree(repo).write(path, content)
    return UserTree(repo).commit(path)


def lane_row(glob: str) -> str:
    return f'version = 1\n[[branch.lanes]]\nid = "a"\ntarget = "t"\npaths = ["{glob}"]\n'


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-qb", "main")
    return tmp_path


async def test_a_branch_is_judged_by_its_own_lanes(repo: Path) -> None:
    base = commit(repo, "ci/forge-lanes.toml", lane_row("old/**"))
    head = commit(repo, "ci/forge-lanes.toml", lane_row("ci/**"))
    (repo / "ci/forge-lanes.toml").write_text("broken in the working tree")
    answer = await select_change(repo, base, head)
    assert (answer.base, answer.head) == (base, head)
    assert answer.changed_files == ("ci/forge-lanes.toml",)
    assert answer.selections[0].reason == "ci/forge-lanes.toml matches ci/**"


async def test_a_head_without_lanes_is_named(repo: Path) -> None:
    commit(repo, "a", "")
    with pytest.raises(CatalogError, match=r"ci/forge-lanes.toml: there is no such file at HEAD"):
        await select_change(repo, "HEAD", "HEAD")


async def test_a_mistake_in_the_heads_lanes_names_the_head(repo: Path) -> None:
    commit(repo, "ci/forge-lanes.toml", "version = 3")
    with pytest.raises(CatalogError, match=r"^ci/forge-lanes.toml at HEAD: version: expected"):
        await select_change(repo, "HEAD", "HEAD")


async def test_a_directory_in_the_place_of_the_lanes_file_is_refused(repo: Path) -> None:
    commit(repo, "ci/forge-lanes.toml/x", "")
    with pytest.raises(UsageError, match="is not a file at HEAD"):
        await select_change(repo, "HEAD", "HEAD")

"""What the readers make of reports that real tools wrote, here or when they were recorded.

Recorded are node 20, bats 1.8, go 1.23 and cargo 1.95; pytest and Perl run here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jerichoci.test_reports.reading import read_reports

if TYPE_CHECKING:
    from jerichoci.record.record import TestSummary

RECORDED = Path(__file__).with_name("recorded")


def read(directory: Path, name: str, into: Path) -> tuple[TestSummary, list[dict[str, Any]]]:
    """The summary of one report, and its tests."""
    summary = read_reports(directory, [name], into, lambda: False)
    assert summary is not None
    assert [report.unreadable for report in summary.reports] == [None]
    return summary, [json.loads(line) for line in into.read_text().splitlines()]


def counts(summary: TestSummary) -> tuple[int, int, int, int, int]:
    """Total, passed, failed, errors, skipped."""
    return (summary.total, summary.passed, summary.failed, summary.errors, summary.skipped)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("node.tap", (7, 4, 2, 0, 1)),
        ("bats.tap", (3, 1, 1, 0, 1)),
        ("bats13.tap", (3, 1, 1, 0, 1)),
        ("go.json", (7, 3, 2, 1, 1)),
        ("cargo.json", (5, 3, 1, 0, 1)),
        ("cargo-broken.json", (1, 0, 0, 1, 0)),
        ("libtest.json", (5, 3, 1, 0, 1)),
    ],
)
def test_a_recorded_report_counts(
    tmp_path: Path, name: str, expected: tuple[int, int, int, int, int]
) -> None:
    summary, rows = read(RECORDED, name, tmp_path / "tests.jsonl")
    assert counts(summary) == expected
    assert len(rows) == expected[0]
    assert all(row.message for row in summary.failures)


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("node.tap", 0, ("fails # with hash", "", "/workspace/a.test.js", 3, "1 == 2")),
        ("node.tap", 1, ("inner bad", "group", "/workspace/a.test.js", 6, "boom\nline2")),
        ("bats.tap", 0, ("fails", "", "x.bats", 2, "(in test file x.bats, line 2)")),
        ("bats13.tap", 0, ("fails", "", None, None, "(in test file x.bats, line 2)")),
        ("go.json", 1, ("TestTable/n=2", "example.com/demo", "a_test.go", 18, "a_test.go:18: ")),
        ("go.json", 2, ("TestPanic", "example.com/demo", "/workspace/a_test.go", 26, "panic: ")),
        ("cargo.json", 0, ("tests::fails", "", "src/lib.rs", 11, "assertion `left == right`")),
        ("libtest.json", 0, ("tests::fails", "", "src/lib.rs", 11, "assertion `left == right`")),
        (
            *("cargo-broken.json", 0),
            ("cannot add `&str` to `i32`", "demo", "src/lib.rs", 6, "error[E0277]"),
        ),
    ],
)
def test_a_failure_has_its_name_place_and_reason(
    tmp_path: Path, name: str, number: int, expected: tuple[Any, ...]
) -> None:
    summary, _ = read(RECORDED, name, tmp_path / "tests.jsonl")
    found = summary.failures[number]
    assert (found.name, found.suite, found.file, found.line) == expected[:4]
    assert (found.message or "").startswith(expected[4])


def test_bats_and_node_time_their_tests(tmp_path: Path) -> None:
    took = [
        read(RECORDED, name, tmp_path / name)[0].duration_ms for name in ("bats.tap", "bats13.tap")
    ]
    assert took == [61, 50]
    _, rows = read(RECORDED, "node.tap", tmp_path / "node")
    assert rows[0] == {
        "name": "adds",
        "suite": "",
        "status": "passed",
        "duration_ms": 10,
    } | dict.fromkeys(("file", "line", "message"))


PYTEST = """
import pytest

def test_good(): pass

class TestThings:
    def test_bad(self): assert [1, 2] == [1, 3]

@pytest.fixture
def broken(): raise RuntimeError("no fixture")

def test_error(broken): pass

@pytest.mark.skip(reason="why not")
def test_skipped(): pass

@pytest.mark.parametrize("text", ["\\x1b[31mred", "\\ud800", "a\\nb"])
def test_text(text): assert text == 1
"""


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_pytest_run_here(tmp_path: Path, family: str) -> None:
    (tmp_path / "test_things.py").write_text(PYTEST)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    options = ["--junitxml=report.xml", "-o", f"junit_family={family}", "test_things.py"]
    done = subprocess.run([*argv, *options], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1, done.stdout
    summary, rows = read(tmp_path, "report.xml", tmp_path / "tests.jsonl")
    assert counts(summary) == (7, 1, 4, 1, 1)
    bad = summary.failures[0]
    assert (bad.name, bad.suite, bad.line) == ("test_bad", "test_things.TestThings", 7)
    assert bad.file == "test_things.py"
    assert (bad.message or "").startswith("assert [1, 2] == [1, 3]")
    assert rows[0]["name"] == "test_good"
    assert all(row["name"].isprintable() for row in rows)


PERL = """
use Test::More;
ok(1, 'first');
ok(0, 'second # hash');
subtest 'group' => sub { plan tests => 2; ok(1, 'in'); ok(0, 'out'); };
subtest 'all well' => sub { ok(1, 'in') };
SKIP: { skip 'no db', 1; ok(1); }
TODO: { local $TODO = 'later'; ok(0, 'to do'); }
done_testing();
"""


def test_perl_run_here(tmp_path: Path) -> None:
    (tmp_path / "t.t").write_text(PERL)
    with (tmp_path / "perl.tap").open("wb") as out:
        subprocess.run(["perl", "t.t"], cwd=tmp_path, stdout=out, stderr=out, check=False)
    summary, rows = read(tmp_path, "perl.tap", tmp_path / "tests.jsonl")
    assert [(row["name"], row["suite"], row["status"]) for row in rows] == [
        ("first", "", "passed"),
        ("second # hash", "", "failed"),
        ("in", "group", "passed"),
        ("out", "group", "failed"),
        ("in", "all well", "passed"),
        ("test 5", "", "skipped"),
        ("to do", "", "skipped"),
    ]
    assert [(row.file, row.line) for row in summary.failures] == [("t.t", 4), ("t.t", 5)]


@pytest.mark.parametrize(
    ("text", "expected", "unreadable"),
    [
        ("1..0 # SKIP nothing to do\n", (0, 0, 0, 0, 0), None),
        ("1..3\nok 1\nok 2\n", (3, 2, 0, 1, 0), None),
        ("ok 1\nnot ok 2 - b\n1..2\n", (2, 1, 1, 0, 0), None),
        ("1..2\nok\nBail out! no database\n", (2, 1, 0, 1, 0), None),
        ("TAP version 14\nok 1 - a # skip\nok 2 - b # time=3ms\n1..2\n", (2, 1, 0, 0, 1), None),
        ("ok 1\nok 2\n", (2, 2, 0, 0, 0), "it has no plan (1..N), so tests may be missing"),
        ("1..1\nok 1 - parent\nokay then\nnot okay\n", (1, 1, 0, 0, 0), None),
        ("1..1\n    not ok 1 - x\n    1..1\nok 1 - says it is well\n", (1, 0, 1, 0, 0), None),
        ("1..1\n    ok 1 - x\n    1..1\nnot ok 1 - hook\n", (2, 1, 1, 0, 0), None),
        ("1..1\r\nok 1 - windows\r\n", (1, 1, 0, 0, 0), None),
        (
            "1..1\nok 1\n  ---\n  message: |\n    not ok 7\n\n    1..9\n  ...\n",
            (1, 1, 0, 0, 0),
            None,
        ),
    ],
)
def test_tap_of_all_kinds(
    tmp_path: Path, text: str, expected: tuple[int, ...], unreadable: str | None
) -> None:
    (tmp_path / "a.tap").write_bytes(text.encode())
    summary = read_reports(tmp_path, ["a.tap"], tmp_path / "tests.jsonl", lambda: False)
    assert summary is not None
    assert counts(summary) == expected
    assert summary.reports[0].unreadable == unreadable


NEW_GO = [
    {"ImportPath": "a [a.test]", "Action": "build-output", "Output": "# a [a.test]\n"},
    {
        "ImportPath": "a [a.test]",
        "Action": "build-output",
        "Output": "./a.go:149:6: undefined: b\n",
    },
    {"ImportPath": "a [a.test]", "Action": "build-fail"},
    {"Action": "start", "Package": "a"},
    {"Action": "output", "Package": "a", "Output": "FAIL\ta [build failed]\n"},
    {"Action": "fail", "Package": "a", "Elapsed": 0, "FailedBuild": "a [a.test]"},
    {"Action": "run", "Package": "c", "Test": "TestHangs"},
    {"Action": "output", "Package": "c", "Test": "TestHangs", "Output": "waiting\n"},
]


def test_go_that_does_not_build_and_a_test_that_does_not_end(tmp_path: Path) -> None:
    (tmp_path / "go.json").write_text("\n".join(map(json.dumps, NEW_GO)))
    summary, _ = read(tmp_path, "go.json", tmp_path / "tests.jsonl")
    assert summary.in_words() == "2 errors: a, TestHangs"
    build, hangs = summary.failures
    assert (build.file, build.line, build.status) == ("./a.go", 149, "error")
    assert hangs.message == "it did not end\nwaiting"


NESTED = """<?xml version="1.0"?>
<!-- made by hand --><testsuites><testsuite name="outer">
<properties><property name="a" value="b"/></properties>
<testsuite name="inner"><testcase name="a" time="1,200.5"/><testcase name="b" time="nan">
<failure/></testcase></testsuite>
<testcase name="c" classname="k" status="notrun"/>
<testcase name="d"><system-out>not ok</system-out><error type="Boom">why
it broke</error><failure message="first counts" file="x.c" line="12">t</failure></testcase>
<testcase name="e"><skipped message="later"/></testcase>
</testsuite></testsuites>"""


def test_junit_of_all_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(NESTED)
    summary, rows = read(tmp_path, "a.xml", tmp_path / "tests.jsonl")
    assert [(row["name"], row["suite"], row["status"]) for row in rows] == [
        ("a", "inner", "passed"),
        ("b", "inner", "failed"),
        ("c", "k", "skipped"),
        ("d", "outer", "failed"),
        ("e", "outer", "skipped"),
    ]
    assert [rows[3][key] for key in ("message", "file", "line")] == ["first counts", "x.c", 12]
    assert summary.duration_ms == 1_200_500


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("coverage.xml", b"<coverage><testsuite/></coverage>"),
        ("a.txt", b"<testsuite/>"),
        ("package.json", b'{"name": "x", "reason": {}}\n{"event": 1, "type": "test"}'),
        ("a.json", b"[1, 2]"),
        ("list.tap", b"beer, wine\n"),
        ("empty.xml", b""),
        ("deep.json", b'{"a":' * 5000),
    ],
)
def test_other_files_are_no_reports(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_reports(tmp_path, [name], tmp_path / "tests.jsonl", lambda: False) is None
    assert not (tmp_path / "tests.jsonl").exists()

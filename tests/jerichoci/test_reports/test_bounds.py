"""Reports that strangers wrote to do harm: whatever is in them, reading ends, in little memory."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jerichoci.record.record import TestSummary
from jerichoci.test_reports import junit, lines, reading, tap
from jerichoci.test_reports.reading import read_reports

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def read(directory: Path, name: str, content: bytes) -> TestSummary:
    (directory / name).write_bytes(content)
    summary = read_reports(directory, [name], directory / "tests.jsonl", lambda: False)
    assert summary is not None
    return summary


def test_many_tests_take_little_memory_and_all_are_counted(tmp_path: Path) -> None:
    case = '<testcase classname="a.b" name="test_%d"><failure message="m">text</failure></testcase>'
    with (tmp_path / "a.xml").open("w") as file:
        file.write("<testsuite>")
        file.writelines(case % number for number in range(10_000))
        file.write("</testsuite>")
    tracemalloc.start()
    try:
        summary = read_reports(tmp_path, ["a.xml"], tmp_path / "tests.jsonl", lambda: False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert summary is not None
    assert (summary.total, summary.failed, len(summary.failures)) == (10_000, 10_000, 50)
    assert peak < 4 * MIB
    assert len(summary.model_dump_json()) < 32 * 1024


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("dtd.xml", f"<!DOCTYPE testsuite [{LAUGHS}]><testsuite>&l9;</testsuite>", "(DTD)"),
        ("ext.xml", '<!DOCTYPE testsuite SYSTEM "http://x.invalid/"><testsuite/>', "(DTD)"),
        ("deep.xml", "<testsuite>" * 500, "nest more than 100 deep"),
        ("cut.xml", "<testsuite><testcase name='a'/>", "not well-formed"),
        (
            "names.xml",
            f"<testsuite>{''.join(f'<x{n}/>' for n in range(3000))}",
            "names of elements",
        ),
        ("code.xml", "<?xml version='1.0' encoding='martian'?><testsuite/>", "not well-formed"),
        ("deep.tap", "".join(" " * 4 * n + "ok\n" for n in range(200)), "nest more than 100 deep"),
    ],
)
def test_what_would_do_harm_is_refused_with_a_sentence(
    tmp_path: Path, name: str, content: str, why: str
) -> None:
    (report,) = read(tmp_path, name, content.encode()).reports
    assert why in (report.unreadable or "")


def test_an_entity_does_not_read_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    entity = f'<!DOCTYPE a [<!ENTITY e SYSTEM "{tmp_path}/secret">]>'
    text = f"{entity}<testsuite><testcase name='x'><failure>&e;</failure></testcase></testsuite>"
    summary = read(tmp_path, "a.xml", text.encode())
    assert summary.total == 0
    assert "secret" not in summary.model_dump_json()
    assert not (tmp_path / "tests.jsonl").exists()


def test_a_tag_may_be_long_but_not_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(junit, "TAG_BYTES", MIB)
    text = f"<testsuite><testcase name='ok'/><testcase name='{'x' * 3 * MIB}'/></testsuite>"
    summary = read(tmp_path, "a.xml", text.encode())
    assert summary.total == 1
    assert summary.reports[0].unreadable == "a tag in it is longer than 1 MiB"


def test_what_a_test_printed_is_passed_over(tmp_path: Path) -> None:
    text = f"<failure>{'x' * 5 * MIB}</failure><system-out>{'y' * 5 * MIB}</system-out>"
    text = f"<testsuite><testcase name='a'>{text}</testcase></testsuite>"
    summary = read(tmp_path, "a.xml", text.encode())
    assert summary.failures[0].message == "x" * (reading.MESSAGE_CHARS - 1) + "…"


def test_a_line_without_end_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES", 1000)
    text = f"1..2\nok 1\n{'ok 3 ' * 1000}\nok 2 - {'x' * 990}"
    assert read(tmp_path, "a.tap", text.encode()).total == 2


def test_beyond_the_bounds_tests_are_counted_then_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_LISTED", 5)
    monkeypatch.setattr(reading, "MOST_CASES", 10)
    summary = read(tmp_path, "a.tap", b"1..20\n" + b"not ok\n" * 20)
    assert (summary.total, len(summary.failures)) == (10, 10)
    assert summary.reports[0].unreadable == "only the first 10 tests were read"
    assert len((tmp_path / "tests.jsonl").read_text().splitlines()) == 5


def test_a_report_for_which_there_is_no_time_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.tap").write_bytes(b"1..9\n" + b"ok\n" * 9000)
    left = iter([False, False, False])
    summary = read_reports(tmp_path, ["a.tap"], tmp_path / "tests.jsonl", lambda: next(left, True))
    assert summary is not None
    assert summary.reports[0].unreadable == "it could not be read in time"
    assert 1000 < summary.total < 9000


def test_a_reader_that_fails_takes_no_other_report_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> object:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(tap, "read_tap", broken)
    (tmp_path / "a.tap").write_text("1..1\nok\n")
    (tmp_path / "b.xml").write_text("<testsuite><testcase name='b'/></testsuite>")
    summary = read_reports(tmp_path, ["a.tap", "b.xml"], tmp_path / "tests.jsonl", lambda: False)
    assert summary is not None
    assert summary.total == 1
    assert [row.unreadable for row in summary.reports] == [
        *("pikaci could not read it: ZeroDivisionError('oh')", None)
    ]


CASE = "<testsuite><testcase name='a'%s</testcase></testsuite>"
SLOW = {
    "place.xml": CASE % f"><failure>a:1: x{' ' * 60_000}y\nz</failure>",
    "time.xml": CASE % f" time='{'1' * 10**6}'>",
    "file.xml": CASE % f" file='{'/scratch/a' * 10**5}'><failure/>",
    "notes.tap": "1..1\nnot ok\n" + f"# {'at ' * 1300}\n" * 3,
    "at.tap": f"1..1\nnot ok\n  ---\n  at: '{'1:' * 2000}'\n  ...\n",
    "words.tap": f"1..1\nnot ok{' ' * 10**6}\nnot ok {'# ' * 400_000}x\n",
    "go.json": "".join(
        json.dumps({"Action": action, "Package": "p", "Test": "T", "Output": "\n" * 4000}) + "\n"
        for action in ("run", "output", "fail")
    ),
    "panic.json": json.dumps(
        {
            "type": "test",
            "event": "failed",
            "name": "a",
            "stdout": "thread 'a" + "' panicked at " * 1000,
        }
    ),
}
"""Texts with which a careless pattern takes minutes."""


@pytest.mark.parametrize("name", SLOW)
def test_no_text_takes_a_pattern_long(tmp_path: Path, name: str) -> None:
    began = time.process_time()
    assert read(tmp_path, name, SLOW[name].encode()).total > 0
    assert time.process_time() - began < 2


def test_names_become_plain_and_short(tmp_path: Path) -> None:
    name = "\x1b[31mred\x1b[0m \x1b]0;title\x07 a\x00b\u202e\x9b2J " + "n" * 1000
    row = {"type": "test", "event": "failed", "name": name, "stdout": "a\nb\x07"}
    summary = read(tmp_path, "a.json", json.dumps(row).encode())
    found = summary.failures[0]
    assert found.name.startswith("red a\\x00b\\u202e nnn")
    assert len(found.name) == reading.NAME_CHARS
    assert found.message == "a\nb\\x07"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/state/runs/R/scratch/js-1/workspace/src/a.js", "src/a.js"),
        ("/workspace/snapshot/a.js", "a.js"),
        ("/Volumes/x/workspace/snapshot/b/workspace/snapshot/a.js", "b/workspace/snapshot/a.js"),
        ("b/workspace/snapshot/a.js", "b/workspace/snapshot/a.js"),
        ("/usr/lib/a.js", "/usr/lib/a.js"),
    ],
)
def test_a_place_in_the_workspace_is_relative_to_it(
    tmp_path: Path, path: str, expected: str
) -> None:
    text = f"1..1\nnot ok 1\n  ---\n  location: '{path}:3:1'\n  ...\n"
    found = read(tmp_path, "a.tap", text.encode()).failures[0]
    assert (found.file, found.line) == (expected, 3)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.tap").write_text("1..1\nok\n")
    (tmp_path / "a.tap").symlink_to(tmp_path / "real.tap")
    assert read_reports(tmp_path, ["a.tap", "gone.tap"], tmp_path / "x", lambda: False) is None


HEADS = {
    "a.xml": b"<testsuite><testcase name='",
    "a.tap": b"1..3\nnot ok 1 - ",
    "a.json": b'{"Action":"run","Package":"p","Test":"',
    "b.json": b'{"reason":"compiler-message","message":',
    "c.json": b'{"type":"test","event":"failed","name":"',
}
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [
                *(b"</testcase>", b"<failure ", b"'", b"/>", b">", b"<testcase name='a'>"),
                *(
                    b"</testsuite>",
                    b"\n    ok\n",
                    b"\n  ---\n",
                    b"\n  ...\n",
                    b"at:\n",
                    b"  file: x\n",
                ),
                *(b"# Subtest: x\n", b"not ok # TODO\n", b"Bail out!", b"1..99999999\n", b'"}\n'),
                *(b'{"Action":"fail","Package":"p"}\n', b'","Output":"', b"test a ... FAILED\n"),
                *(
                    b"---- a stdout ----\n",
                    b"test result: \n",
                    b"\xff\xfe",
                    b"\x00",
                    b"}}\n",
                    b"[]",
                ),
            ]
        ),
    ),
    max_size=30,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(HEADS)), rest=PIECES)
def test_whatever_is_in_a_report_its_summary_adds_up(
    tmp_path_factory: pytest.TempPathFactory, name: str, rest: bytes
) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / name).write_bytes(HEADS[name] + rest)
    into = directory / "tests.jsonl"
    summary = read_reports(directory, [name], into, lambda: False)
    if summary is None:
        assert not into.exists()
        return
    assert summary.total == summary.passed + summary.bad + summary.skipped
    rows = [json.loads(row) for row in into.read_text().splitlines()] if into.exists() else []
    assert len(rows) == summary.total
    assert all(row["name"].isprintable() for row in rows)
    assert TestSummary.model_validate_json(summary.model_dump_json()) == summary
    assert "pikaci could not" not in (summary.reports[0].unreadable or "")

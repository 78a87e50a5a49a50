from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.record.record import TestCase, TestSummary
from pikaci.render.ci.annotations import SHOWN, Findings, allot
from pikaci.render.ci.finding import (
    LONGEST_MESSAGE,
    Finding,
    Level,
    Reader,
    of_tests,
)
from pikaci.render.ci.repository import Repository

if TYPE_CHECKING:
    from pathlib import Path

ERROR, WARNING, NOTICE = Level.ERROR, Level.WARNING, Level.NOTICE
Said = tuple[Level, str, int | None, int | None, str]

GCC = """\
In file included from src/main.c:1:
src/greet.h:3:10: fatal error: missing.h: No such file or directory
src/main.c: In function 'main':
src/main.c:7:3: warning: implicit declaration of function 'greet' [-Wimplicit]
src/main.c:9:12: note: declared here
src/main.c:8: error: expected ';' before '}' token
"""
MYPY = """\
app/a.py:3: error: Incompatible return value type (got "int", expected "str")  [return-value]
app/a.py:3: note: See the documentation
app/b.py:5:9: error: Missing return statement  [return]
Found 2 errors in 2 files (checked 3 source files)
"""
RUFF = """\
app/a.py:1:8: F401 [*] `os` imported but unused
app/b.py:10:1: E501 Line too long (120 > 100)
Found 2 errors.
"""
PYTEST = """\
_________________ test_sum _________________

    def test_sum():
>       assert add(1, 1) == 3
E       assert 2 == 3
E        +  where 2 = add(1, 1)

tests/test_a.py:4: AssertionError
_________________ test_raises _________________
tests/test_a.py:8:
>   raise ValueError("no")
E   ValueError: no
app/a.py:2: ValueError
=========== warnings summary ===========
tests/test_a.py::test_old
  /somewhere/workspace/tests/test_a.py:12: DeprecationWarning: old() is going
FAILED tests/test_a.py::test_sum - assert 2 == 3
"""
PYTEST_SHORT = """\
tests/test_a.py:4: in test_sum
    assert add(1, 1) == 3
E   assert 2 == 3
E    +  where 2 = add(1, 1)
"""
RUST = """\
   Compiling app v0.1.0 (/workspace/snapshot)
warning: unused variable: `x`
 --> src/main.rs:2:9
  |
2 |     let x = 1;
  |         ^ help: prefix it with an underscore
error[E0308]: mismatched types
 --> src/lib.rs:5:5
error: could not compile `app` (bin "app") due to 1 previous error
thread 'tests::adds' panicked at src/lib.rs:9:9:
assertion `left == right` failed
"""
GO = """\
# example.com/app
./main.go:7:2: undefined: greet
vet: ./other.go:3:5: unreachable code
--- FAIL: TestSum (0.00s)
    sum_test.go:9: got 2, want 3
"""
TYPESCRIPT = "src/a.ts(3,7): error TS2322: Type 'number' is not assignable to type 'string'.\n"
COMMANDS = """\
::error file=app/a.py,line=3,col=5,title=Ruff (F401)::`os` imported%0Abut unused, 100%25
::warning file=app/b.py,line=9::why%2C not
::notice::just so
::debug::nothing
::set-output name=a::b
"""
NOTHING = """\
12:30:01: error: not a file of any
error: something
see http://example.org:80/: error: no
a warning: nothing
src/main.c:x: error: no line
ok tests/test_a.py:3
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            GCC,
            [
                (ERROR, "src/greet.h", 3, 10, "missing.h: No such file or directory"),
                (
                    WARNING,
                    *("src/main.c", 7, 3),
                    "implicit declaration of function 'greet' [-Wimplicit]",
                ),
                (ERROR, "src/main.c", 8, None, "expected ';' before '}' token"),
            ],
        ),
        (
            MYPY,
            [
                (
                    ERROR,
                    *("app/a.py", 3, None),
                    'Incompatible return value type (got "int", expected "str")  [return-value]',
                ),
                (ERROR, "app/b.py", 5, 9, "Missing return statement  [return]"),
            ],
        ),
        (
            RUFF,
            [
                (ERROR, "app/a.py", 1, 8, "F401 [*] `os` imported but unused"),
                (ERROR, "app/b.py", 10, 1, "E501 Line too long (120 > 100)"),
            ],
        ),
        (
            PYTEST,
            [
                (ERROR, "tests/test_a.py", 4, None, "assert 2 == 3"),
                (ERROR, "app/a.py", 2, None, "ValueError: no"),
                (WARNING, "/somewhere/workspace/tests/test_a.py", 12, None, "old() is going"),
            ],
        ),
        (PYTEST_SHORT, [(ERROR, "tests/test_a.py", 4, None, "assert 2 == 3")]),
        (
            RUST,
            [
                (WARNING, "src/main.rs", 2, 9, "unused variable: `x`"),
                (ERROR, "src/lib.rs", 5, 5, "mismatched types"),
                (ERROR, "src/lib.rs", 9, 9, "assertion `left == right` failed"),
            ],
        ),
        (
            GO,
            [
                (ERROR, "./main.go", 7, 2, "undefined: greet"),
                (ERROR, "./other.go", 3, 5, "unreachable code"),
                (ERROR, "sum_test.go", 9, None, "got 2, want 3"),
            ],
        ),
        (
            TYPESCRIPT,
            [(ERROR, "src/a.ts", 3, 7, "Type 'number' is not assignable to type 'string'.")],
        ),
        (
            COMMANDS,
            [
                (ERROR, "app/a.py", 3, 5, "`os` imported\nbut unused, 100%"),
                (WARNING, "app/b.py", 9, None, "why%2C not"),
                (NOTICE, None, None, None, "just so"),
            ],
        ),
        (NOTHING, []),
    ],
    ids=["gcc", "mypy", "ruff", "pytest", "short", "rust", "go", "typescript", "commands", "none"],
)
def test_what_tools_say_about_lines_of_files_is_found(text: str, found: list[Said]) -> None:
    assert [(f.level, f.file, f.line, f.column, f.message) for f in read(text)] == found


def read(text: str) -> list[Finding]:
    reader = Reader()
    return [found for line in text.splitlines() if (found := reader.read(line))]


def test_a_command_keeps_its_title_and_loses_control_characters() -> None:
    (found,) = read("::error file=a,title=T%0Ax%3A::one\x1b[2J\x07two")
    assert (found.title, found.message) == ("T\nx:", "onetwo")


@given(st.text(alphabet=":/ .acE0123>\n\r\x1b[mwrno-(),%"))
def test_whatever_a_job_prints_can_be_read(text: str) -> None:
    for found in read(text):
        assert len(found.message) <= LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("src/a.c", "src/a.c"),
        ("./src/a.c", "src/a.c"),
        ("/workspace/snapshot/src/a.c", "src/a.c"),
        ("/state/scratch/it-1/workspace/src/a.c", "src/a.c"),
        ("/usr/include/src/a.c", None),
        ("src/b.c", None),
        ("src/d.c", "below/src/d.c"),
        ("d.c", "below/src/d.c"),
        ("e.c", None),
        ("one/e.c", "one/e.c"),
        ("*.c", None),
        ("[", None),
        ("src", None),
        ("../src/a.c", None),
        ("src/../src/a.c", None),
        ("/workspace/../src/a.c", None),
        ("/workspace", None),
        (".", None),
    ],
)
def test_a_file_is_one_of_the_repository_or_none(
    tmp_path: Path, printed: str, shown: str | None
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.c").touch()
    (tmp_path / "below" / "src").mkdir(parents=True)
    (tmp_path / "below" / "src" / "d.c").touch()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "e.c").touch()
    found = Repository(tmp_path).place(Finding(ERROR, "why", printed, 1))
    assert (found.file if found else None) == shown


def test_a_job_that_passed_has_no_errors() -> None:
    findings = Findings(passed=True)
    for level in Level:
        findings.note(Finding(level, "why"))
    assert [found.level for found in allot([findings])] == [WARNING, NOTICE]


def test_many_findings_of_one_job_leave_room_for_those_of_others() -> None:
    jobs = [Findings(passed=False) for _ in range(3)]
    for number, findings in enumerate(jobs):
        for line in range(100 if number == 0 else 2):
            findings.note(Finding(ERROR, "why", f"file{number}", line))
            findings.note(Finding(ERROR, "why", f"file{number}", line))
    shown = [found.file for found in allot(jobs)]
    assert len(shown) == SHOWN
    assert shown.count("file1") == shown.count("file2") == 2


def test_a_test_that_failed_is_a_finding_and_its_line_is_told_once() -> None:
    cases = [
        TestCase(name="t", suite="s", status="failed", file="a.py", line=4, message="\x07no\nmore"),
        TestCase(name="u", status="error"),
    ]
    first, second = of_tests(TestSummary(failures=cases))
    assert (first.title, first.file, first.line, first.message) == ("s: t", "a.py", 4, "no\nmore")
    assert (second.title, second.file, second.message) == ("u", None, "test error")
    findings = Findings(passed=False)
    findings.note_test(first)
    findings.note(Finding(ERROR, "assert 2 == 3", "a.py", 4))
    findings.note(Finding(ERROR, "assert 2 == 3", "a.py", 5))
    findings.note_test(second)
    assert [found.line for found in findings.of(ERROR)] == [4, 5]


def test_what_several_jobs_say_of_a_line_is_told_once() -> None:
    jobs = [Findings(passed=False) for _ in range(2)]
    for findings in jobs:
        findings.note(Finding(WARNING, "old", "a.py", 4))
        findings.note(Finding(ERROR, "failed"))
    jobs[0].note(Finding(ERROR, "no", title="job one"))
    jobs[1].note(Finding(ERROR, "no", title="job two"))
    assert [(found.message, found.title) for found in allot(jobs)] == [
        *(("failed", ""), ("no", "job one"), ("no", "job two"), ("old", "")),
    ]


def test_without_the_snapshot_any_path_in_the_repository_will_do(tmp_path: Path) -> None:
    for root in (None, tmp_path / "gone"):
        found = Repository(root).place(Finding(ERROR, "why", "./src/a.c", 1))
        assert found
        assert found.file == "src/a.c"

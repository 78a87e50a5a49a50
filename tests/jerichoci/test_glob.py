from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.machine.glob import GlobError, compile_globs, parse_glob

if TYPE_CHECKING:
    from collections.abc import Iterator

GLOBSET = Path(__file__).with_name("globset")
BROKEN = [
    ("[", "`[` without its `]`"),
    ("[]", "`[` without its `]`"),
    ("[!", "`[` without its `]`"),
    ("[!]", "`[` without its `]`"),
    ("[z-a]", "range `z-a`, which runs backwards"),
    ("[z--]", "range `z--`, which runs backwards"),
    ("{a,b", "`{` without its `}`"),
    ("{a,{b,c}", "`{` without its `}`"),
    ("a,b}", "`}` without its `{`"),
    ("{a,b}}", "`}` without its `{`"),
    ("{", "`{` without its `}`"),
    ("a\\", "ends in a `\\` that escapes nothing"),
    ("{a\\", "ends in a `\\` that escapes nothing"),
    ("{" * 1000, "nests braces deeper than 50"),
]


def rows() -> Iterator[tuple[str, str, bool]]:
    """Patterns, names and whether they match: globset's own examples first, then corner cases."""
    for line in (GLOBSET / "examples.txt").read_text().splitlines():
        pattern, names = line.split(maxsplit=1)
        matching, _, others = f" {names} ".partition(" but not ")
        yield from ((pattern, name, True) for name in matching.split())
        yield from ((pattern, name, False) for name in others.split())
    yield from [
        ("a*", "a\nb", True),
        ("a", "a\n", False),
        ("*.c", "\udcff.c", True),
        ("", "a", False),
    ]


def test_globs_match_as_globsets_examples_do() -> None:
    wrong = [row for row in rows() if parse_glob(row[0]).matches(row[1]) is not row[2]]
    assert wrong == []


@pytest.mark.parametrize(("pattern", "mistake"), BROKEN)
def test_a_broken_pattern_is_an_error_that_says_what_is_broken(pattern: str, mistake: str) -> None:
    with pytest.raises(GlobError) as caught:
        compile_globs(["fine", pattern])
    assert caught.value.message.startswith(f"the glob `{pattern}` ")
    assert mistake in caught.value.message


def test_the_first_pattern_that_matches_is_named() -> None:
    globs = compile_globs(["docs/**", "**/*.md", "*"])
    assert [globs.match(path) for path in ("docs/a.md", "src/a.md", "Makefile", "src/a.py")] == [
        "docs/**",
        "**/*.md",
        "*",
        None,
    ]


def test_no_patterns_match_nothing() -> None:
    assert compile_globs([]).match("a") is None


def test_a_glob_means_what_it_means_to_ripgrep() -> None:
    """`globset/record.py` recorded what the real one answers."""
    recorded = json.loads((GLOBSET / "recorded.json").read_text())
    asked = [
        (row["matches"], pattern) for row in recorded["answers"] for pattern in row["patterns"]
    ]
    assert len(asked) > 600
    answers = [(matching(pattern, recorded["names"]), pattern) for _, pattern in asked]
    assert answers == asked


def matching(pattern: str, names: list[str]) -> list[str] | None:
    """The names that match, sorted; None if the pattern is refused."""
    try:
        glob = parse_glob(pattern)
    except GlobError:
        return None
    return sorted(name for name in names if glob.matches(name))


@pytest.mark.parametrize("pattern", ["*a" * 60 + "b", "{*a,**/*}" * 40 + "b", "**/*" * 40 + "b"])
def test_no_glob_takes_for_ever(pattern: str) -> None:
    assert not parse_glob(pattern).matches("/".join(["a" * 60] * 20))


components = st.text("ab.-é", min_size=1, max_size=4).filter(lambda name: name not in {".", ".."})
paths = st.lists(components, min_size=1, max_size=4).map("/".join)


@given(st.text())
def test_any_text_is_a_glob_or_a_sentence(text: str) -> None:
    with suppress(GlobError):
        parse_glob(text).matches("a/b")


@given(paths)
def test_an_escaped_path_matches_itself(path: str) -> None:
    escaped = "".join(char if char == "/" else f"\\{char}" for char in path)
    assert parse_glob(escaped).matches(path)

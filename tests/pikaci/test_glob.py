from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise, product

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from pikaci.glob import MAX_ALTERNATIVES, GlobError, compile_globs, parse_glob

# The first two tables are those of globset's own tests, as far as they hold with literal separators
# and for paths as git prints them.
MATCHES = [
    ("a", "a"),
    ("a*b", "a_b"),
    ("a*b*c", "abc"),
    ("a*b*c", "a_b_c"),
    ("a*b*c", "a___b___c"),
    ("abc*abc*abc", "abcabcabcabcabcabcabc"),
    ("a*a*a*a*a*a*a*a*a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("a*b[xyz]c*d", "abxcdbxcddd"),
    ("*.rs", ".rs"),
    ("☃", "☃"),
    ("some/**/needle.txt", "some/needle.txt"),
    ("some/**/needle.txt", "some/one/needle.txt"),
    ("some/**/needle.txt", "some/one/two/needle.txt"),
    ("**", "abcde"),
    ("**", ".asdf"),
    ("**", "x/.asdf"),
    ("some/**/**/needle.txt", "some/needle.txt"),
    ("some/**/**/needle.txt", "some/one/needle.txt"),
    ("some/**/**/needle.txt", "some/one/two/needle.txt"),
    ("**/test", "one/two/test"),
    ("**/test", "one/test"),
    ("**/test", "test"),
    ("**/.*", ".abc"),
    ("**/.*", "abc/.abc"),
    ("**/foo/bar", "foo/bar"),
    (".*/**", ".abc/abc"),
    ("test/**", "test/one"),
    ("test/**", "test/one/two"),
    ("some/*/needle.txt", "some/one/needle.txt"),
    ("a[0-9]b", "a0b"),
    ("a[0-9]b", "a9b"),
    ("a[!0-9]b", "a_b"),
    ("[a-z123]", "1"),
    ("[1a-z23]", "1"),
    ("[123a-z]", "1"),
    ("[abc-]", "-"),
    ("[-abc]", "-"),
    ("[-a-c]", "b"),
    ("[a-c-]", "b"),
    ("[-]", "-"),
    ("a[^0-9]b", "a_b"),
    ("*hello.txt", "hello.txt"),
    ("*hello.txt", "gareth_says_hello.txt"),
    ("*hello.txt", "some\\path\\to\\hello.txt"),
    ("*some/path/to/hello.txt", "some/path/to/hello.txt"),
    ("_[[]_[]]_[?]_[*]_!_", "_[_]_?_*_!_"),
    ("aBcDeFg", "aBcDeFg"),
    ("a,b", "a,b"),
    (",", ","),
    ("{a,b}", "a"),
    ("{a,b}", "b"),
    ("{**/src/**,foo}", "abc/src/bar"),
    ("{**/src/**,foo}", "foo"),
    ("{[}],foo}", "}"),
    ("{foo}", "foo"),
    ("{*.foo,*.bar,*.wat}", "test.foo"),
    ("{*.foo,*.bar,*.wat}", "test.wat"),
    ("foo{,.txt}", "foo.txt"),
    ("foo{,.txt}", "foo"),
    ("{a,b{c,d}}", "bc"),
    ("{a,b{c,d}}", "bd"),
    ("{a,b{c,d}}", "a"),
    ("abc/def", "abc/def"),
    ("abc[/]def", "abc/def"),
    ("\\[", "["),
    ("\\?", "?"),
    ("\\*", "*"),
    ("\\a", "a"),
]
DIFFERS = [
    ("a*b*c", "abcd"),
    ("abc*abc*abc", "abcabcabcabcabcabcabca"),
    ("some/**/needle.txt", "some/other/notthis.txt"),
    ("some/**/**/needle.txt", "some/other/notthis.txt"),
    ("/**/test", "test"),
    ("**/.*", "ab.c"),
    ("**/.*", "abc/ab.c"),
    (".*/**", "a.bc"),
    (".*/**", "abc/a.bc"),
    (".*/**", ".abc"),
    ("foo/**", "foo"),
    ("a[0-9]b", "a_b"),
    ("a[!0-9]b", "a0b"),
    ("a[!0-9]b", "a9b"),
    ("[!-]", "-"),
    ("[^-]", "-"),
    ("*hello.txt", "hello.txt-and-then-some"),
    ("*hello.txt", "goodbye.txt"),
    ("*hello.txt", "some/path/to/hello.txt"),
    ("*some/path/to/hello.txt", "some/other/path/to/hello.txt"),
    ("*some/path/to/hello.txt", "a/bigger/some/path/to/hello.txt"),
    ("a", "foo/a"),
    ("./foo", "foo"),
    ("**/foo", "foofoo"),
    ("**/foo/bar", "foofoo/bar"),
    ("/*.c", "mozilla-sha1/sha1.c"),
    ("*.c", "mozilla-sha1/sha1.c"),
    ("**/m4/ltoptions.m4", "csharp/src/packages/repositories.config"),
    ("a[^0-9]b", "a0b"),
    ("some/*/needle.txt", "some/needle.txt"),
    ("some/*/needle.txt", "some/one/two/needle.txt"),
    ("some/*/needle.txt", "some/one/two/three/needle.txt"),
    ("aBcDeFg", "abcdefg"),
    ("abc?def", "abc/def"),
    ("abc*def", "abc/def"),
    ("abc\\def", "abc/def"),
]
OURS = [
    ("a**b", "a__b", True),
    ("a**b", "a/b", False),
    ("a/**b", "a/x/b", False),
    ("***", "a/b", False),
    ("{*,a}*", "a/b", False),
    ("a[!x]b", "a/b", True),
    ("a[!/]b", "a/b", False),
    ("a[.-0]b", "a/b", True),
    ("a[.-0]b", "a.b", True),
    ("[[:alpha:]]", "a]", True),
    ("[[:alpha:]]", "x]", False),
    ("[\\]", "\\", True),
    ("[!!]", "!", False),
    ("[&&~~||]", "&", True),
    ("a//b", "a/b", False),
    ("a{b,/}/c", "ab/c", True),
    ("docs{/**,}", "docs", True),
    ("docs{/**,}", "docs/a/b", True),
    ("{a/,b/}**", "b/c/d", True),
    ("a/{**,x}", "a/b/c", True),
    ("@(a)", "@(a)", True),
    ("@(a)", "a", False),
    ("!a", "!a", True),
    ("a|b", "a", False),
    ("~", "~", True),
    ("{1..3}", "2", False),
    ("a*", "a\nb", True),
    ("a", "a\n", False),
    ("*.c", "\udcff.c", True),
    ("", "a", False),
]
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
    ("{a,b}" * 20, f"more than {MAX_ALTERNATIVES} patterns"),
    ("{" + "a," * 2000 + "}", f"more than {MAX_ALTERNATIVES} patterns"),
]


@pytest.mark.parametrize(("pattern", "path"), MATCHES)
def test_globset_says_it_matches(pattern: str, path: str) -> None:
    assert compile_globs([pattern]).match(path) == pattern


@pytest.mark.parametrize(("pattern", "path"), DIFFERS)
def test_globset_says_it_does_not_match(pattern: str, path: str) -> None:
    assert compile_globs([pattern]).match(path) is None


@pytest.mark.parametrize(("pattern", "path", "expected"), OURS)
def test_corner_cases_are_settled(pattern: str, path: str, *, expected: bool) -> None:
    assert parse_glob(pattern).matches(path) is expected


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


def test_checking_patterns_does_not_import_the_matcher() -> None:
    code = (
        "import sys; from pikaci.glob import compile_globs; compile_globs(['**/{a,[bc]}']);"
        "sys.exit('wcmatch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@dataclass(frozen=True)
class Any1:
    text = "?"

    def fits(self, char: str) -> bool:
        return char != "/"


@dataclass(frozen=True)
class Literal:
    char: str
    escaped: bool = False

    @property
    def text(self) -> str:
        return f"\\{self.char}" if self.escaped or self.char in "*?[]{},\\" else self.char

    def fits(self, char: str) -> bool:
        return char == self.char


@dataclass(frozen=True)
class CharClass:
    negated: bool
    ranges: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        members = [low if low == high else f"{low}-{high}" for low, high in self.ranges]
        return f"[{'!' if self.negated else ''}{''.join(members)}]"

    def fits(self, char: str) -> bool:
        return self.negated != any(low <= char <= high for low, high in self.ranges)


@dataclass(frozen=True)
class Star:
    text = "*"


@dataclass(frozen=True)
class Recursive:
    text = "**"


@dataclass(frozen=True)
class Either:
    choices: tuple[Pattern, ...]

    @property
    def text(self) -> str:
        return "{" + ",".join(text_of(choice) for choice in self.choices) + "}"


Part = Any1 | Literal | CharClass | Star | Recursive | Either
Pattern = tuple[Part, ...]


def text_of(pattern: Pattern) -> str:
    return "".join(part.text for part in pattern)


def without_braces(pattern: Pattern) -> list[Pattern]:
    choices = [
        [flat for choice in part.choices for flat in without_braces(choice)]
        if isinstance(part, Either)
        else [(part,)]
        for part in pattern
    ]
    return [tuple(part for flat in picked for part in flat) for picked in product(*choices)]


def slowly(pattern: Pattern, path: str, at: int = 0, *, start: bool = True) -> bool:
    """Match by trying every position; `start`: a component of the pattern starts here."""
    if not pattern:
        return at == len(path)
    part, rest = pattern[0], pattern[1:]
    ends_component = not rest or rest[0] == Literal("/")
    match part:
        case Recursive() if start and ends_component:
            if not rest:
                return at < len(path)
            starts = [at, *(i + 1 for i in range(at, len(path)) if path[i] == "/")]
            return any(slowly(rest[1:], path, i) for i in starts)
        case Star() | Recursive():
            slash = path.find("/", at)
            stop = len(path) if slash < 0 else slash
            return any(slowly(rest, path, i, start=False) for i in range(at, stop + 1))
        case Either():
            raise AssertionError
        case _:
            return (
                at < len(path)
                and part.fits(path[at])
                and slowly(rest, path, at + 1, start=part == Literal("/"))
            )


ALPHABET = "ab.-/"
literals = st.builds(Literal, st.sampled_from("ab.-*[{,!^\\é"), st.booleans())
slashes = st.just(Literal("/"))
ranges = st.tuples(st.sampled_from("ab./+,^é"), st.sampled_from("ab./+,^é")).map(
    lambda bounds: (min(bounds), max(bounds))
)
classes = st.builds(
    CharClass,
    st.booleans(),
    st.lists(ranges, min_size=1, max_size=3)
    .map(tuple)
    .filter(lambda found: not found[0][0].startswith("^")),
)
atoms = st.one_of(literals, slashes, classes, st.just(Any1()), st.just(Star()))


def sequences(choices: st.SearchStrategy[Part]) -> st.SearchStrategy[Pattern]:
    recursive = st.tuples(slashes, st.just(Recursive()), slashes)
    pieces = st.one_of(choices.map(lambda part: (part,)), recursive, st.just((Recursive(),)))
    return st.lists(pieces, max_size=5).map(
        lambda found: tuple(part for piece in found for part in piece)
    )


either = st.lists(sequences(atoms), min_size=1, max_size=3).map(lambda found: Either(tuple(found)))
patterns = sequences(st.one_of(atoms, either))
components = st.text("ab.-é", min_size=1, max_size=4).filter(lambda name: name not in {".", ".."})
paths = st.lists(components, min_size=1, max_size=4).map("/".join)


def stars_touch(pattern: Pattern) -> bool:
    """Two parts that would be read as one longer run of stars."""
    stars = [isinstance(part, Star | Recursive) for part in pattern]
    return any(a and b for a, b in pairwise(stars)) or any(
        stars_touch(choice)
        for part in pattern
        if isinstance(part, Either)
        for choice in part.choices
    )


@given(patterns.filter(lambda pattern: not stars_touch(pattern)), st.lists(paths, min_size=5))
def test_matches_like_a_slow_matcher(pattern: Pattern, candidates: list[str]) -> None:
    try:
        glob = parse_glob(text_of(pattern))
    except GlobError:
        reject()  # braces and classes that stand for too many patterns
    for path in candidates:
        expected = any(slowly(flat, path) for flat in without_braces(pattern))
        assert glob.matches(path) is expected, (text_of(pattern), path)


@given(st.text())
def test_any_text_is_a_glob_or_a_sentence(text: str) -> None:
    with suppress(GlobError):
        parse_glob(text).matches("a/b")


@given(paths)
def test_an_escaped_path_matches_itself(path: str) -> None:
    escaped = "".join(char if char == "/" else f"\\{char}" for char in path)
    assert parse_glob(escaped).matches(path)

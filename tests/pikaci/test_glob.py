from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pikaci.glob import GlobError, compile_globs, parse_glob

# What the real one answers; `globset/record.py` records it.
RECORDED = json.loads(Path(__file__).with_name("globset").joinpath("recorded.json").read_text())
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
    ("docs{/**,}", "docs", False),
    ("docs{/**,}", "docs/a/b", True),
    ("{a/,b/}**", "b/c/d", False),
    ("a/{**,x}", "a/b/c", False),
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
    ("**/", "a/b", True),
    ("x/**/", "x/a", False),
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


@pytest.mark.parametrize("pattern", RECORDED["patterns"])
def test_a_glob_means_what_it_means_to_ripgrep(pattern: str) -> None:
    expected = RECORDED["patterns"][pattern]
    if expected is None:
        with pytest.raises(GlobError):
            parse_glob(pattern)
    else:
        found = [name for name in RECORDED["names"] if parse_glob(pattern).matches(name)]
        assert sorted(found) == expected


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

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.errors import CatalogError
from jerichoci.exit_codes import EXIT_USAGE
from pikaci.lanes import Lanes, Trigger, load_lanes, parse_lanes

ORIGIN = "ci/forge-lanes.toml"
WHOLE = """
version = 1
nightly_schedule_utc = "02:30"

[[branch.lanes]]
id = "greeting"
title = "check-greeting"
target = "pre-merge-greeting"
paths = ["src/**", "*.{nix,lock}"]
concurrency_group = "linux"

[[nightly.lanes]]
id = "nightly-all"
target = "all"

[[branch.lanes]]
id = "older"
staged_linux_target = "pre-merge-rust"
"""
LANE = '[[branch.lanes]]\nid = "a"\ntarget = "t"'


def parse(text: str) -> Lanes:
    return parse_lanes(text.encode(), ORIGIN)


def test_a_whole_file_is_read() -> None:
    lanes = parse(WHOLE)
    greeting, older, nightly = lanes.lanes
    assert lanes.nightly_schedule_utc == "02:30"
    assert (greeting.id, greeting.title, greeting.target, greeting.trigger) == (
        "greeting",
        "check-greeting",
        "pre-merge-greeting",
        Trigger.BRANCH,
    )
    assert greeting.paths == ("src/**", "*.{nix,lock}")
    assert greeting.concurrency_group == "linux"
    assert (older.title, older.target, older.paths) == ("older", "pre-merge-rust", ())
    assert (nightly.trigger, nightly.concurrency_group) == (Trigger.NIGHTLY, None)


def test_a_file_may_have_no_lanes() -> None:
    assert parse("version = 1").lanes == ()


MISTAKES = [
    ("version = 1\nx = ", ":2:5: invalid value"),
    ("version = 1\nversion = 2", ":2:12: cannot overwrite a value"),
    ("version = = 1", ":1:11: invalid value"),
    ('version = 1\nx = """\n\n', ":4:1: unterminated string"),
    ("x = " + "[" * 9000, ": nests tables too deeply"),
    ("", ": version: expected the number 1, found nothing"),
    ("version = 2", ": version: expected the number 1, found the number 2; a later pikaci"),
    ("version = 0", ": version: expected the number 1, found the number 0"),
    ("version = true", ": version: expected the number 1, found true"),
    ("version = 1.0", ": version: expected the number 1, found the number 1.0"),
    ('version = "1"', ': version: expected the number 1, found the string "1"'),
    ("version = 2\nnew_key = 1", ": version: expected the number 1, found the number 2"),
]
IN_VERSION_1 = [
    ("brunch = 1", ": brunch: unknown key; did you mean `branch`?"),
    ("[branch]\nlane = []", ": branch.lane: unknown key; did you mean `lanes`?"),
    ("zzz = 1", ": zzz: unknown key; known here: version, nightly_schedule_utc,"),
    ('"a\\nb" = 1', ": 'a\\nb': unknown key"),
    ("branch = 1", ": branch: expected a table, found the number 1"),
    ("[branch.lanes]", ": branch.lanes: expected an array of tables, [[branch.lanes]]"),
    ("branch.lanes = [1]", ": branch.lanes[0]: expected a table, found the number 1"),
    ('nightly_schedule_utc = "24:00"', ': nightly_schedule_utc: expected a time "HH:MM'),
    ('nightly_schedule_utc = "2:30"', ': nightly_schedule_utc: expected a time "HH:MM'),
    ("nightly_schedule_utc = 02:30:00", 'HH:MM" from 00:00 to 23:59, found a date or'),
    (
        '[[nightly.lanes]]\nid = "a"\ntarget = "t"',
        ': nightly_schedule_utc: expected a time "HH:MM", as there are nightly lanes',
    ),
    (
        f'nightly_schedule_utc = "00:00"\n{LANE}\n[[nightly.lanes]]\nid = "a"\ntarget = "t"',
        ": nightly.lanes[0].id: expected an id of its own, found `a`, the id of branch.lanes[0]",
    ),
    (
        "\n".join([LANE, LANE.replace('"a"', '"b"'), LANE]),
        ": branch.lanes[2].id: expected an id of its own, found `a`, the id of branch.lanes[0]",
    ),
    ('[[branch.lanes]]\nid = "a"', ": branch.lanes[0].target: expected an id, found no"),
    ('[[branch.lanes]]\ntarget = "a"', ": branch.lanes[0].id: expected an id, found no"),
    ('[[branch.lanes]]\nid = "A b"', '.id: expected an id, found the string "A b"; ids'),
    ('[[branch.lanes]]\nid = "../a"', '.id: expected an id, found the string "../a"'),
    (
        '[[branch.lanes]]\nid = "a"\nstaged_linux_target = 1',
        ": branch.lanes[0].staged_linux_target: expected an id, found the number 1",
    ),
]
IN_A_LANE = [
    ('path = ["a"]', "path: unknown key; did you mean `paths`?"),
    ('paths = "a"', "paths: expected an array of strings, found the string"),
    ('paths = ["a", 1]', "paths[1]: expected a string, found the number"),
    ('paths = ["a", "["]', "paths[1]: the glob `[` has a `[` without"),
    ('paths = [""]', "paths[0]: expected a glob from the root"),
    ('paths = ["/a"]', "paths[0]: expected a glob from the root"),
    ('paths = ["./a"]', "paths[0]: expected a glob from the root"),
    ("title = 1", "title: expected one line of text, found the number"),
    ('title = ""', "title: expected one line of text, found the string"),
    ('title = "a\\nb"', "title: expected one line of text, found"),
    ("concurrency_group = []", "concurrency_group: expected one line of text, found a"),
    ('command = "make"', "command: a lane names a target, not a command; make the command a job"),
    ('staged_linux_target = "t"', "staged_linux_target: is another name for `target`"),
]
MISTAKES += [(f"version = 1\n{text}", sentence) for text, sentence in IN_VERSION_1]
MISTAKES += [
    (f"version = 1\n{LANE}\n{row}", f": branch.lanes[0].{sentence}") for row, sentence in IN_A_LANE
]


@pytest.mark.parametrize(("text", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence_with_its_place(text: str, sentence: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse(text)
    assert str(caught.value).startswith(ORIGIN)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == EXIT_USAGE


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "lanes.toml").write_text(WHOLE)
    assert load_lanes(tmp_path / "lanes.toml", ORIGIN).origin == ORIGIN
    (tmp_path / "latin").write_bytes(b"version = 1\n# caf\xe9\n")
    with pytest.raises(CatalogError, match=f"^{ORIGIN}:2: expected UTF-8"):
        load_lanes(tmp_path / "latin", ORIGIN)
    with pytest.raises(CatalogError, match=f"^{ORIGIN}: can't be read"):
        load_lanes(tmp_path, ORIGIN)


toml_values = st.recursive(
    st.one_of(
        st.text(st.characters(exclude_categories=["C"], exclude_characters='"\\')).map(
            '"{}"'.format
        ),
        st.integers(-9, 9).map(str),
        st.sampled_from(["true", "1.5", "02:30:00", "2020-01-01"]),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=4,
)


@given(
    st.sampled_from(["id", "title", "target", "paths", "concurrency_group", "command"]), toml_values
)
def test_any_value_is_read_or_a_sentence(key: str, value: str) -> None:
    defaults = {"id": '"a"', "target": '"t"'} | {key: value}
    rows = "\n".join(f"{name} = {text}" for name, text in defaults.items())
    try:
        parse(f"version = 1\n[[branch.lanes]]\n{rows}")
    except CatalogError as error:
        place = f"{ORIGIN}: branch.lanes[0].{key}"
        assert error.message.startswith(place)  # noqa: PT017 - any value may also be right


def test_the_example_in_the_documentation_is_right() -> None:
    text = (Path(__file__).parents[2] / "docs/lanes.md").read_text()
    example = text.split("```toml\n")[1].split("```")[0]
    assert [lane.id for lane in parse(example).lanes] == ["greeting", "everything"]

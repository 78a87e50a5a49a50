from __future__ import annotations

import pytest

from jerichoci.errors import UsageError
from jerichoci.state.annotations import MOST, MOST_BYTES, parse_annotations


def test_annotations_are_a_map_in_the_order_given() -> None:
    found = parse_annotations(["forge/lane=check linux", "a.b-c=1=2", "empty=", "who=Zoë"])
    assert list(found.items()) == [
        ("forge/lane", "check linux"),
        ("a.b-c", "1=2"),
        ("empty", ""),
        ("who", "Zoë"),
    ]
    assert parse_annotations([]) == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "=b", "A=b", "a b=c", "-a=b", "ä=b", "a" * 65 + "=b"),
        *("a=b\nc", "a=b\0", "a=\x1b[31m", "a=\udcff", "a=" + "b" * MOST_BYTES),
    ],
)
def test_what_is_no_annotation_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(UsageError, match="is not an annotation") as caught:
        parse_annotations([text])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 350


def test_a_key_is_given_once_and_there_is_a_limit() -> None:
    with pytest.raises(UsageError, match="'a' is given twice"):
        parse_annotations(["a=1", "a=1"])
    many = [f"a{number}=x" for number in range(MOST + 1)]
    assert len(parse_annotations(many[:-1])) == MOST
    with pytest.raises(UsageError, match=f"there are {MOST + 1} annotations; give at most {MOST}"):
        parse_annotations(many)

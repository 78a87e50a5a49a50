"""Operations on hosts: what may be one, and how its values are sent."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jerichoci.machine.confinement import Confinement
from jerichoci.nix.realised import Fault, Realised
from jerichoci.placement import operations
from jerichoci.placement.operation import OPERATIONS, described, find, operation
from jerichoci.placement.work import Work
from jerichoci.state.wire import Arrived, WireError, check_type, to_json
from jerichoci.status import CauseCode, FailureKind, Outcome

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
PATHS = TEXTS.map(lambda text: Path("/") / text.replace("/", "_"))


@dataclass(frozen=True)
class Mixed:
    """Something of everything."""

    text: str
    number: int
    share: float
    is_it: bool
    data: bytes
    path: Path | None
    parts: list[str | bytes]
    pairs: dict[str, tuple[int, ...]]
    outcome: Outcome = Outcome.PASSED


MIXED = st.builds(
    Mixed,
    text=TEXTS,
    number=st.integers(),
    share=st.floats(allow_nan=False),
    is_it=st.booleans(),
    data=st.binary(),
    path=st.none() | PATHS,
    parts=st.lists(TEXTS | st.binary()),
    pairs=st.dictionaries(TEXTS, st.lists(st.integers()).map(tuple)),
    outcome=st.sampled_from(Outcome),
)


def sent(shape: Any, value: object) -> object:  # noqa: ANN401 - a type
    """A value after it went to another machine."""
    pieces: list[bytes] = []
    values = json.loads(json.dumps(to_json(value, pieces)))
    return Arrived(b"".join(pieces)).take(shape, values, "value")


@settings(max_examples=40)
@given(MIXED)
def test_values_come_out_as_they_went_in(value: Mixed) -> None:
    assert sent(Mixed, value) == value


def test_what_hosts_answer_comes_out_as_it_went_in() -> None:
    fault = Fault(CauseCode.BUILD_TIMED_OUT, "late", "hint")
    kind = FailureKind.TIMEOUT
    for value in (
        Confinement(prefix=("unshare",), overlay=True, setpriv="/bin/setpriv"),
        Realised(Outcome.FAILED, gc_root=Path("/root"), failure_kind=kind, fault=fault),
    ):
        assert sent(type(value), value) == value


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [
        (int, True, "value is True"),
        (bool, 1, "value is 1"),
        (str, "\ud800", "value is "),
        (str, "a\0", "value is "),
        (Path, "relative", "value is 'relative'"),
        (Outcome, "fine", "value is 'fine'"),
        (Outcome, [], "value is []"),
        (bytes, 1, "value has fewer bytes than announced"),
        (list[int], {}, "value is {}"),
        (dict[str, int], {"a": "b"}, "value.a is 'b'"),
        (int | None, "x", "value is 'x'"),
        (Fault, {"code": "cancelled"}, "value.message is missing"),
    ],
)
def test_a_value_of_another_type_is_refused(shape: object, value: object, message: str) -> None:
    with pytest.raises(WireError) as raised:
        Arrived(b"").take(shape, value, "value")
    assert str(raised.value).startswith(message)


async def unanswered(work: Work):  # type: ignore[no-untyped-def]  # noqa: ANN201 - what is tried
    del work


async def answers_anything(work: Work) -> object:
    return work


async def takes_a_set(work: Work, values: set[int]) -> None:
    del work, values


async def opens(work: Work, values: Mapping[str, set[int]]) -> AsyncIterator[None]:
    del work, values
    yield


async def run(work: Work) -> None:
    del work


@pytest.mark.parametrize("function", [unanswered, answers_anything, takes_a_set])
def test_what_cannot_be_sent_is_no_operation(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        described(function, function, holds=False)
    with pytest.raises(TypeError, match=r"opens\.values: a value of set\[int\] can't be sent"):
        described(opens, opens, holds=True)


def test_an_operation_has_a_name_of_its_own() -> None:
    with pytest.raises(TypeError, match="operation run has a name that is taken"):
        operation(run)


def test_every_operation_says_what_it_answers() -> None:
    assert len(OPERATIONS) > len(vars(operations)) / 4
    for known in map(find, OPERATIONS):
        check_type(known.answer, known.name)
        assert "work" not in known.signature.parameters


def test_arguments_arrive_as_the_function_has_them() -> None:
    known = find("run")
    argv: Sequence[str] = ("sh", "-c", "true")
    values, data = known.request((argv,), {"deadline_secs": 5, "cwd": Path("/")})
    arrived = known.arguments(json.loads(json.dumps(values)), data)
    assert arrived == {"argv": list(argv), "deadline_secs": 5, "cwd": Path("/")}

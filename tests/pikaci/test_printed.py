from __future__ import annotations

import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from pikaci.log_output import last_lines
from pikaci.printed import Printed

if TYPE_CHECKING:
    from collections.abc import Sequence

PREPARED = b"pikaci> preparing greeting\ngreeting> building\nother> x\n"
BEGUN = b"pikaci> prepare_directories passed (0 ms)\npikaci> prepare_runtime passed (1 ms)\n"
LAUNCHED = b"pikaci> launch_guest passed (2 ms)\n"
ENDED = (
    b"pikaci> wait_for_completion failed (3 ms)\npikaci> no files\npikaci> cleanup passed (1 ms)\n"
)


def printed(*pieces: bytes) -> bytes:
    cut = Printed()
    return b"".join([*map(cut.feed, pieces), cut.end()])


def cut_at(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(ends)]


def test_a_job_keeps_its_bytes_and_prepares_theirs() -> None:
    log = PREPARED + BEGUN + b"begun\n" + LAUNCHED + b"\xff\0\r\n" + ENDED
    assert printed(log) == b"greeting> building\nother> x\nbegun\n\xff\0\r\n"


def test_a_job_may_print_what_looks_like_pikacis() -> None:
    said = b"pikaci> launch_guest passed (2 ms)\npikaci> preparing x\npikaci> \nlast"
    assert printed(BEGUN + LAUNCHED + said + b"\n" + ENDED) == said + b"\n"
    assert printed(BEGUN + LAUNCHED + said) == said


@given(
    st.lists(
        st.sampled_from([PREPARED, BEGUN, LAUNCHED, ENDED, b"pik", b"pikaci> ", b"\n", b"x\ny"])
    ).map(b"".join),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_it_does_not_matter_in_what_pieces_a_log_is_read(log: bytes, places: list[int]) -> None:
    assert printed(*cut_at(log, places)) == printed(log)


@given(
    st.lists(st.sampled_from([b"a\n", b"\n", b"b", b"cc\nd\n"])).map(b"".join),
    st.lists(st.integers(0, 100), max_size=5),
    st.integers(0, 9),
)
def test_the_last_lines_are_those_of_tail(log: bytes, places: list[int], count: int) -> None:
    tail = subprocess.run(["tail", "-n", str(count)], input=log, capture_output=True, check=True)
    assert b"".join(last_lines(cut_at(log, places), count)) == tail.stdout

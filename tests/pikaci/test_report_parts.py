"""The pieces of a report's page: logs, time, the plan's graph."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pikaci.report import log_parts
from pikaci.report.ansi import line_html
from pikaci.report.graph import draw
from pikaci.report.log_parts import Part, Tail, parts
from pikaci.report.telling import choose
from pikaci.report.timeline import timeline
from plans import job, plan
from records import first_record

if TYPE_CHECKING:
    from jerichoci.state.layout import StateLayout

AT = "2026-01-31T23:59:{:02d}.000Z"


def decoded(part: Part) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), part.text)


TEXT = st.text(st.sampled_from("ab\n\n<\\é\u20ac\x00\x1b"), max_size=400)


@given(TEXT, st.integers(1, 9), st.sampled_from([b"", b"\xff\xfe"]))
def test_the_parts_of_a_log_are_all_of_it_and_end_nothing_of_the_page(
    text: str, size: int, rest: bytes
) -> None:
    log = text.encode() + rest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_parts, "PART_BYTES", 64)
        patch.setattr(log_parts, "TAIL_BYTES", 16)
        found = [*parts(log[at : at + size] for at in range(0, len(log), size))]
    texts = [each for each in found if isinstance(each, Part)]
    (tail,) = [each for each in found if isinstance(each, Tail)]
    assert found == [*texts, tail]
    assert not re.search(r"[<\x00-\x08\x0b-\x1f]", "".join(each.text for each in texts))
    first = 1
    for each in texts:
        assert each.first == first
        first += decoded(each).count("\n")
    assert tail.first == first
    joined, shown = "".join(map(decoded, texts)), log.decode("utf-8", "replace")
    assert shown.startswith(joined)
    end = shown[len(joined) :].removesuffix("\n")
    assert tail.html == "\n".join(map(line_html, end.split("\n")))


def test_colours_are_spans_and_all_else_is_text() -> None:
    assert line_html("\x1b[1;31m<b>\x1b[0m & \x1b]0;title\x07x") == (
        '<span class="f1 ab">&lt;b&gt;</span> &amp; x'
    )
    assert line_html("10%\r\x1b[32m100%\x1b[m") == '<span class="f2">100%</span>'
    assert line_html("\x1b[38;5;200mX\x1b[48;2;1;2;3mY\x1b[7mZ") == (
        '<span class="f13">X</span><span class="f13 g0">Y</span><span class="f0 g13">Z</span>'
    )
    assert line_html("a\u202eb") == "a\ufffdb"
    assert line_html(f"\x1b[{'9' * 10_000}mx") == "x"


def test_lines_that_name_an_error_are_chosen_and_never_all() -> None:
    log = b"".join(b"ok %d\n" % number for number in range(1, 1001))
    log = log.replace(b"ok 7\n", b"src/a.c:7: error: x\n").replace(b"ok 9\n", b"0 failed\n")
    for size in (len(log), 100):
        found = choose(log[at : at + size] for at in range(0, len(log), size))
        assert found.total == 1000
        numbers = [line.number for line in found.lines]
        assert numbers[-8:] == [*range(993, 1001)]
        assert 7 in numbers
        assert 9 not in numbers
    labelled = choose([b"a> error\nb> error\na> fine\n"], label=b"a> ")
    assert [(line.number, line.text) for line in labelled.lines] == [(1, "error"), (3, "fine")]
    assert labelled.total == 2


def test_the_critical_path_is_what_the_run_waited_for(layout: StateLayout) -> None:
    record = first_record(layout, plan(job("quick"), job("slow"), job("last")))
    begun = {"quick": (0, 2), "slow": (0, 20), "last": (20, 30)}
    jobs = [
        each.with_(
            started_at=AT.format(begun[each.id][0]), finished_at=AT.format(begun[each.id][1])
        )
        for each in record.jobs
    ]
    record = record.with_(created_at=AT.format(0), finished_at=AT.format(30), jobs=jobs)
    needs = {"execute-last": ["execute-quick", "execute-slow"]}
    found = timeline(record, needs, {})
    assert found.critical == ("execute-slow", "execute-last")
    assert found.sentence == "30.0 s of 30.0 s: slow 20.0 s → last 10.0 s"
    for row in found.rows:
        assert all(0 <= bar.x <= bar.x + bar.width <= 1000 for bar in found.bars(row))
    assert timeline(record.with_(created_at="yesterday"), needs, {}).critical == ()


@given(st.data())
def test_a_graph_has_every_node_once_and_edges_from_left_to_right(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    names = {f"n{number}": f"node {number}" for number in range(count)}
    needs = {
        f"n{number}": [
            f"n{other}" for other in data.draw(st.sets(st.integers(0, number - 1), max_size=4))
        ]
        for number in range(1, count)
    }
    found = draw(names, needs)
    boxes = {box.node_id: box for box in found.boxes}
    assert boxes.keys() == names.keys()
    assert len({(box.x, box.y) for box in found.boxes}) == count
    for start, end, path in found.edges:
        assert start in needs[end]
        assert boxes[start].x + boxes[start].width < boxes[end].x
        assert path.startswith("M")
    for box in found.boxes:
        assert 0 <= box.x <= box.x + box.width <= found.width
        assert 0 <= box.y <= box.y + box.height <= found.height


def test_an_edge_that_a_path_implies_is_left_out() -> None:
    found = draw({"a": "a", "b": "b", "c": "c"}, {"b": ["a"], "c": ["a", "b"]})
    assert [(start, end) for start, end, _ in found.edges] == [("a", "b"), ("b", "c")]

from __future__ import annotations

import pytest

from pika_git.forge_service import sentences
from pika_git.forge_service.sentences import Hold, Waited, duration, reason, waited
from pika_git.persistence.queue import Reason


@pytest.mark.parametrize(
    ("secs", "said"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (48.2, "48 s"),
        (59.6, "1m 00s"),
        (62, "1m 02s"),
        (1022, "17m 02s"),
        (7500, "2h 05m"),
        (3 * 86400 + 4 * 3600, "3d 04h"),
        (-5, "0.0 s"),
        (None, "unknown time"),
    ],
)
def test_a_duration_is_said_with_its_two_largest_units(secs: float | None, said: str) -> None:
    assert duration(secs) == said


def test_a_wait_names_its_parts_the_longest_first() -> None:
    parts = [
        Waited("queued", 2.0),
        Waited("waiting_for_capacity", 12.0),
        Waited("blocked_by_concurrency_group", 48.0, "linux", ("main #41",)),
    ]
    assert waited(62, parts) == (
        "queued 1m 02s, of which 48 s for group linux held by main #41 and 12 s for a free slot"
    )


def test_a_wait_for_one_thing_says_its_time_once() -> None:
    assert waited(62, [Waited("no_host_fits", 62.0)]) == "queued 1m 02s for a worker that fits"


def test_a_wait_that_lasts_leaves_its_only_part_to_the_reason() -> None:
    assert waited(62, [Waited("no_host_fits", 62.0)], is_waiting=True) == "queued 1m 02s"
    assert waited(0.1, []) == "began at once"


def test_holders_past_the_second_are_counted() -> None:
    part = Waited("blocked_by_concurrency_group", 60.0, "linux", ("a #1", "b #2", "c #3", "d #4"))
    assert waited(90, [part]).endswith("for group linux held by a #1, b #2 and 2 more")


@pytest.mark.parametrize("code", [*Reason, "awaiting_approval"])
def test_each_reason_has_words_and_what_ends_it(code: str) -> None:
    said, ends = reason(code, {}, "linux", 0.0)
    assert code not in {said, ends}
    assert "unknown:" not in ends


def test_a_reason_names_what_is_waited_for() -> None:
    holder = Hold(3, 41, "refs/heads/main", "linux", 0.0, None)
    said, _ = reason("blocked_by_concurrency_group", {"group": "linux"}, "linux", 9.0, holder)
    assert said == "waits for group linux, held by main #41"
    said, ends = reason("no_host_fits", {"missing": ["gpu", "root"]}, "linux", 9.0)
    assert said == "waits for a worker with label gpu and root: none has it"
    assert ends == "a worker with label gpu and root is started"
    said, _ = reason("target_unhealthy", {"until": 60.0, "why": "no KVM"}, "linux", 9.0)
    assert said == "waits because target linux is closed, until 00:01:00 UTC: no KVM"


@pytest.mark.parametrize(
    "detail",
    [{"until": "soon", "missing": 4}, {"missing": [None, {}], "probe": "x"}, {"why": "{no} {0}"}],
)
def test_a_damaged_detail_is_left_out(detail: dict[str, object]) -> None:
    for code in [*Reason, "unheard_of"]:
        assert all(reason(code, detail, "{target}", 0.0))


def test_a_ref_is_said_as_people_say_it() -> None:
    names = ["refs/heads/a/b", "refs/tags/v1", "refs/notes/x", "refs/heads/"]
    assert [sentences.short_ref(name) for name in names] == ["a/b", "v1", "refs/notes/x", names[3]]


def test_a_full_disk_is_said_where_a_lane_waits_for_a_slot() -> None:
    detail = {"troubles": {"w1": "the disk is full"}}
    said, _ = sentences.reason("waiting_for_capacity", detail, "t", 0.0)
    assert said.endswith("busy, or w1 takes none: the disk is full")

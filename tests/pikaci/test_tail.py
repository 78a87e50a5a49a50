from __future__ import annotations

from typing import TYPE_CHECKING

from pikaci.render.tail import Tails

if TYPE_CHECKING:
    from pathlib import Path


def test_whole_lines_are_shown_as_they_come_and_the_rest_at_the_end(tmp_path: Path) -> None:
    shown: list[tuple[str, str]] = []
    tails = Tails(lambda job, line: shown.append((job, line)))
    log = tmp_path / "host.log"
    tails.follow("it", [log])
    tails.poll()
    assert shown == []
    log.write_bytes(b"one\nhal")
    tails.poll()
    assert shown == [("it", "one")]
    log.write_bytes(b"one\nhalf\nend\xff")
    tails.drain("it")
    assert shown == [("it", "one"), ("it", "half"), ("it", "end\ufffd")]
    tails.drain("it")
    assert len(shown) == 3


def test_another_attempt_is_followed_from_its_beginning(tmp_path: Path) -> None:
    shown: list[str] = []
    tails = Tails(lambda _job, line: shown.append(line))
    for number in (1, 2):
        log = tmp_path / f"{number}.log"
        log.write_text(f"attempt {number}\n")
        tails.follow("it", [log])
        tails.drain("it")
    assert shown == ["attempt 1", "attempt 2"]

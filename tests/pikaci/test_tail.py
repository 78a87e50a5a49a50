from __future__ import annotations

from typing import TYPE_CHECKING

from pikaci.render.tail import Tails, excerpt

if TYPE_CHECKING:
    from pathlib import Path

BEGUN = b"pikaci> prepare_directories passed (0 ms)\n"


def test_whole_lines_are_shown_as_they_come_and_the_rest_at_the_end(tmp_path: Path) -> None:
    shown: list[tuple[str, str]] = []
    tails = Tails(lambda job, line: shown.append((job, line)))
    log = tmp_path / "host.log"
    tails.follow("it", tmp_path)
    tails.poll()
    assert shown == []
    log.write_bytes(BEGUN + b"one\nhal")
    tails.poll()
    assert shown == [("it", "one")]
    log.write_bytes(BEGUN + b"one\nhalf\nend\xff")
    tails.end("it")
    assert shown == [("it", "one"), ("it", "half"), ("it", "end\ufffd")]
    tails.end("it")
    assert len(shown) == 3


def test_a_line_that_is_too_long_is_cut_and_marked(tmp_path: Path) -> None:
    shown: list[str] = []
    tails = Tails(lambda _job, line: shown.append(line))
    long = b"begin" + b"y" * 3_000_000 + b"end"
    (tmp_path / "host.log").write_bytes(BEGUN + b"one\n" + long + b"\ntwo\n" + long)
    tails.follow("it", tmp_path)
    tails.end("it")
    one, first, two, last = shown
    assert (one, two) == ("one", "two")
    assert first == last
    assert first == f"begin{'y' * 995} ... [cut: this line has 3000008 bytes] ... {'y' * 497}end"
    assert list(excerpt(tmp_path, "it", "it")) == shown


def test_another_attempt_is_followed_from_its_beginning(tmp_path: Path) -> None:
    shown: list[str] = []
    tails = Tails(lambda _job, line: shown.append(line))
    for number in (1, 2):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "host.log").write_bytes(BEGUN + b"attempt %d\n" % number)
        tails.follow("it", directory)
        tails.end("it")
    assert shown == ["attempt 1", "attempt 2"]


def test_what_a_prepare_prints_is_shown_once_for_all_jobs_that_need_it(tmp_path: Path) -> None:
    shown: list[tuple[str, str]] = []
    tails = Tails(lambda speaker, line: shown.append((speaker, line)))
    for job in ("a", "b"):
        (tmp_path / job).mkdir()
        text = b"pikaci> preparing dep\ndep> one\ndep> two\n" + BEGUN + b"dep> of the job\n"
        (tmp_path / job / "host.log").write_bytes(text)
    tails.follow_prepare("dep", "a", tmp_path / "a")
    tails.end_prepare("dep")
    assert shown == [("dep", "one"), ("dep", "two"), ("a", "dep> of the job")]
    for job in ("a", "b"):
        tails.follow(job, tmp_path / job)
        tails.end(job)
    assert shown[3:] == [("b", "dep> of the job")]


def test_a_prepare_is_followed_when_the_job_that_tells_of_it_has_failed(tmp_path: Path) -> None:
    shown: list[tuple[str, str]] = []
    tails = Tails(lambda speaker, line: shown.append((speaker, line)))
    log = tmp_path / "host.log"
    for name in ("one", "two"):
        tails.follow_prepare(name, "it", tmp_path)
    log.write_bytes(b"one> fails\n")
    tails.end_prepare("one")
    tails.end("it")
    log.write_bytes(b"one> fails\ntwo> goes on\n")
    tails.poll()
    assert shown == [("one", "fails"), ("two", "goes on")]

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.state.layout import StateLayout
from jerichoci.status import Status
from pikaci.render.tail import Tails, excerpt
from pikaci.render.words import failure_tail
from plans import RUN_ID, job, plan
from records import first_record

if TYPE_CHECKING:
    from pathlib import Path

HOST_LOG = "pikaci> prepare_directories passed (0 ms)\npikaci> launch_guest passed (200 ms)\n"
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
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        text = b"pikaci> preparing dep\ndep> one\ndep> two\n" + BEGUN + b"dep> of the job\n"
        (tmp_path / name / "host.log").write_bytes(text)
    tails.follow_prepare("dep", "a", tmp_path / "a")
    tails.end_prepare("dep")
    assert shown == [("dep", "one"), ("dep", "two"), ("a", "dep> of the job")]
    for name in ("a", "b"):
        tails.follow(name, tmp_path / name)
        tails.end(name)
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


def tail(root: Path, **logs: str) -> list[str]:
    state = StateLayout(root)
    directory = state.run(RUN_ID).attempt("a", 1)
    directory.mkdir(parents=True)
    for name, text in logs.items():
        (directory / f"{name}.log").write_bytes(text.encode())
    (row,) = first_record(state, plan(job("a"))).jobs
    path = "jobs/a/attempts/1/host.log"
    return list(failure_tail(state, RUN_ID, row.with_(status=Status.FAILED, host_log_path=path)))


def test_what_a_failed_job_printed_in_its_guest_is_shown(tmp_path: Path) -> None:
    assert tail(tmp_path, host=HOST_LOG, guest="one\ntwo\n") == ["one", "two"]


def test_what_a_failed_job_printed_on_the_host_is_shown(tmp_path: Path) -> None:
    assert tail(tmp_path, host=f"{HOST_LOG}one\n") == ["one"]


def test_of_much_the_beginning_and_the_end_are_shown(tmp_path: Path) -> None:
    shown = tail(tmp_path, host=HOST_LOG, guest="".join(f"{n}\n" for n in range(1000)))
    first, last = [f"{n}" for n in range(5)], [f"{n}" for n in range(980, 1000)]
    assert shown == [*first, "... 975 lines ...", *last]


def test_of_very_much_the_lines_between_are_counted_all_the_same(tmp_path: Path) -> None:
    text = "".join(f"{n:0100}\n" for n in range(50_000))
    for log in ({"host": HOST_LOG, "guest": text}, {"host": HOST_LOG + text}):
        shown = tail(tmp_path / str(len(log)), **log)
        assert [int(line) for line in shown if line[0] == "0"] == [
            *range(5),
            *range(49_980, 50_000),
        ]
        assert shown[5] == "... 49975 lines ..."


def test_nothing_is_left_out_of_what_is_short(tmp_path: Path) -> None:
    lines = [f"{n}" for n in range(25)]
    assert tail(tmp_path, host=HOST_LOG + "\n".join(lines)) == lines


def test_a_line_that_is_written_over_counts_once_and_as_it_was_left(tmp_path: Path) -> None:
    progress = "".join(f"\r{n:3}%" for n in range(40_000))
    shown = tail(tmp_path, host=f"{HOST_LOG}assertion failed\n{progress}\r\x1b[K\nend\r\n")
    assert shown[0] == "assertion failed"
    assert shown[-2:] == ["39999%", "end"]
    assert len(shown) < 10


def test_a_line_of_megabytes_is_cut_and_that_is_said(tmp_path: Path) -> None:
    shown = tail(tmp_path, host=HOST_LOG, guest="x" * 60_000 + "\n")
    assert shown == ["x" * 2000 + " ... 58000 more characters"]


def test_what_is_not_of_the_job_is_not_shown_as_its_own(tmp_path: Path) -> None:
    prepared = "pikaci> preparing dep\ndep> built\n"
    assert tail(tmp_path, host=prepared) == []
    assert tail(tmp_path / "b", host=f"{prepared}{HOST_LOG}dep> said\n") == ["dep> said"]

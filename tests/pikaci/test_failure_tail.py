from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.record.record import JobRecord
from jerichoci.state.layout import StateLayout
from jerichoci.status import Status
from pikaci.render.words import failure_tail

if TYPE_CHECKING:
    from pathlib import Path

RUN_ID = "20260131T235959Z-0123abcd"
HOST_LOG = "pikaci> prepare_directories passed (0 ms)\npikaci> launch_guest passed (200 ms)\n"


def tail(root: Path, **logs: str) -> list[str]:
    state = StateLayout(root)
    directory = state.run(RUN_ID).attempt("a", 1)
    directory.mkdir(parents=True)
    for name, text in logs.items():
        (directory / f"{name}.log").write_bytes(text.encode())
    job = JobRecord(
        id="a",
        status=Status.FAILED,
        placement="local",
        runtime="host_process",
        plan_node_id="execute-a",
        timeout_secs=1,
        host_log_path="jobs/a/attempts/1/host.log",
    )
    return list(failure_tail(state, RUN_ID, job))


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

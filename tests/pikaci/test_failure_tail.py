from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.layout import StateLayout
from jerichoci.record import JobRecord
from jerichoci.status import Status
from pikaci.render.words import failure_tail

if TYPE_CHECKING:
    from pathlib import Path

RUN_ID = "20260131T235959Z-0123abcd"
HOST_LOG = "pikaci> prepare_runtime passed (1 ms)\npikaci> launch_guest passed (200 ms)\n"


def tail(root: Path, **logs: str) -> list[str]:
    state = StateLayout(root)
    directory = state.run(RUN_ID).attempt("a", 1)
    directory.mkdir(parents=True)
    for name, text in logs.items():
        (directory / f"{name}.log").write_text(text)
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


def test_of_much_the_end_is_shown(tmp_path: Path) -> None:
    shown = tail(tmp_path, host=HOST_LOG, guest="".join(f"{n}\n" for n in range(1000)))
    assert shown[0].startswith("[the last ")
    assert shown[-1] == "999"

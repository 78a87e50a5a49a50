"""Many jobs at once, and the images that their guests are made from."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from e2e.project import wait_for
from incus.guest_project import (
    GuestRunner,
    assert_nothing_is_left,
    ending,
    guest_job,
    let_go,
    until,
)
from jerichoci.plan.plan import Resources
from plans import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from incus.conftest import MakePool
    from incus.guest_proxy import Proxy
    from incus.server import IncusServer

RUNNER = "run/current-system/sw/bin/pikaci-incus-run"
OTHER_RUN = "20260131T235959Z-0123abce"


@contextmanager
def published(server: IncusServer, alias: str) -> Iterator[str]:
    """An image of its own without the runner."""
    server.incus("init", "--quiet", server.image_alias, "to-be-published")
    server.incus("file", "delete", f"to-be-published/{RUNNER}")
    server.incus("publish", "to-be-published", f"--alias={alias}", "--compression=none")
    server.incus("delete", "to-be-published")
    try:
        yield alias
    finally:
        server.incus("image", "delete", alias)


def test_jobs_run_side_by_side_as_far_as_the_host_has_room(guests: GuestRunner) -> None:
    one = Resources(cpus=1, memory_mib=200)
    jobs = [
        guest_job(f"j{n}", "date +%s.%N; sleep 0.3; date +%s.%N", resources=one) for n in range(8)
    ]
    with ending(guests.start(*jobs)) as process:
        process.wait(90)
    record = guests.record()
    assert {row["status"] for row in record["jobs"]} == {"passed"}
    assert len({row["execution"]["instance"] for row in record["jobs"]}) == 8
    spans = [tuple(map(float, guests.log(row["id"]).split())) for row in record["jobs"]]
    at_once = [sum(a <= begin < b for a, b in spans) for begin, _ in spans]
    assert max(at_once) > 1
    guests.reap()
    assert_nothing_is_left(guests.server, guests.state.root)


def test_an_image_that_no_pool_has_unpacked_is_unpacked_once(
    guests: GuestRunner, proxy: Proxy, make_pool: MakePool
) -> None:
    fresh = guests.at(proxy.path).site(pool=make_pool("fresh", "btrfs"))
    jobs = [guest_job(name) for name in ("a", "b")]
    with (
        ending(fresh.start(*jobs)) as first,
        ending(fresh.start(*jobs, run_id=OTHER_RUN)) as second,
    ):
        first.wait(90)
        second.wait(90)
    for run_id in (RUN_ID, OTHER_RUN):
        assert {row["status"] for row in fresh.record(run_id)["jobs"]} == {"passed"}
    creations = [place for place, seen in enumerate(proxy.seen) if seen == "POST instances"]
    assert len(creations) == 4
    # The others ask when the first one's operation is over.
    over = min(seen for line, seen in proxy.answered if line.endswith("/wait"))
    assert over <= creations[1]
    fresh.reap()
    assert_nothing_is_left(guests.server, guests.state.root)


def test_a_running_job_keeps_its_image_when_the_alias_moves(
    guests: GuestRunner, incus_server: IncusServer
) -> None:
    incus = incus_server.incus
    old = incus("image", "list", incus_server.image_alias, "--format=csv", "--columns=F").strip()
    with published(incus_server, "without-runner"):
        incus("image", "alias", "create", "moving", old)
        try:
            with ending(guests.of("moving").start(guest_job("a", until("go")))) as process:
                wait_for(lambda: guests.begins("wait_for_completion"))
                incus("image", "alias", "delete", "moving")
                new = incus(
                    *("image", "list", "without-runner", "--format=csv", "--columns=F")
                ).strip()
                incus("image", "alias", "create", "moving", new)
                let_go(guests.state.root, "a", RUN_ID)
                process.wait(60)
        finally:
            incus("image", "alias", "delete", "moving")
    (job,) = guests.record()["jobs"]
    assert job["status"] == "passed"
    assert job["execution"]["image_alias"] == "moving"
    assert job["execution"]["image_fingerprint"] == old != new
    guests.reap()
    assert_nothing_is_left(guests.server, guests.state.root)

"""Many jobs at once, and the images that their guests are made from."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.project import wait_for
from guest_images import image
from incus.guest_project import (
    GuestRunner,
    assert_nothing_is_left,
    ending,
    guest_job,
    let_go,
    outbox,
    until,
)
from jerichoci.plan.plan import Resources
from jerichoci.runtime.guest_runner import RUNNER
from jerichoci.runtime.incus.client import Incus
from jerichoci.status import FailureKind
from plans import RUN_ID

if TYPE_CHECKING:
    import pytest

    from incus.conftest import MakePool
    from incus.guest_proxy import Proxy
    from incus.server import IncusServer

OTHER_RUN = "20260131T235959Z-0123abce"


async def test_a_guest_without_a_runner_leaves_nothing(
    guests: GuestRunner,
    incus_server: IncusServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.start.NO_PROGRAM_SECS", 0.2)
    (tmp_path / "empty").mkdir()
    incus, profile = incus_server.incus, "without-runner"
    incus("profile", "create", profile)
    add = ("profile", "device", "add", profile)
    incus(*add, "root", "disk", "path=/", f"pool={incus_server.pool}")
    incus(*add, "bin", "disk", f"path={Path(RUNNER).parent}", f"source={tmp_path}/empty")
    try:
        job = (await guests.site(profile=profile).run_here(guest_job("a"))).job("a")
        await asyncio.to_thread(guests.reap)
    finally:
        incus_server.remove_instances()
        incus("profile", "delete", profile)
    assert job.cause
    assert "has no runner" in job.cause.message
    assert (job.cause.phase, job.failure_kind) == ("launch_guest", FailureKind.INFRASTRUCTURE)
    assert_nothing_is_left(guests.server, guests.state.root)


def test_jobs_run_side_by_side_as_far_as_the_host_has_room(guests: GuestRunner) -> None:
    names, one = ["a", "b", "c", "d"], Resources(cpus=1, memory_mib=200)
    jobs = [guest_job(name, until("go"), resources=one) for name in names]
    state = guests.state.root
    with ending(guests.start(*jobs)) as process:
        files = [outbox(state, name, RUN_ID) / "files" for name in names]
        wait_for(lambda: sum(path.is_dir() for path in files) > 1)
        letting = [threading.Thread(target=let_go, args=(state, name, RUN_ID)) for name in names]
        for thread in letting:
            thread.start()
        process.wait(90)
        for thread in letting:
            thread.join()
    record = guests.record()
    assert {row["status"] for row in record["jobs"]} == {"passed"}
    assert len({row["execution"]["instance"] for row in record["jobs"]}) == len(names)
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
    guests: GuestRunner, incus_server: IncusServer, tmp_path: Path
) -> None:
    incus = incus_server.incus
    columns = (incus_server.image_alias, "--format=csv", "--columns=F")
    old = incus("image", "list", *columns).strip()
    files = image(tmp_path / "image")
    client = Incus(incus_server.socket, incus_server.project)
    new = client.import_image(files.metadata, files.rootfs, is_vm=False)
    incus("image", "alias", "create", "moving", old)
    try:
        with ending(guests.of("moving").start(guest_job("a", until("go")))) as process:
            wait_for(lambda: guests.begins("wait_for_completion"))
            incus("image", "alias", "delete", "moving")
            incus("image", "alias", "create", "moving", new)
            let_go(guests.state.root, "a", RUN_ID)
            process.wait(60)
    finally:
        incus("image", "alias", "delete", "moving")
        incus("image", "delete", new)
    (job,) = guests.record()["jobs"]
    assert job["status"] == "passed"
    assert job["execution"]["image_alias"] == "moving"
    assert job["execution"]["image_fingerprint"] == old != new
    guests.reap()
    assert_nothing_is_left(guests.server, guests.state.root)

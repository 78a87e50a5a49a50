"""An Incus that is a member of a cluster: guests are where the directories are that they see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from incus_fake import FakeIncus, Said
from incus_jobs import guest_job, run_guests
from jerichoci.runtime.incus.api import Profile
from jerichoci.runtime.incus.client import Incus
from jerichoci.runtime.incus.rules import Needs, objections
from jerichoci.status import KeepPolicy, Status

if TYPE_CHECKING:
    from runner import Runner

OPEN = {"restricted": "true", "restricted.devices.disk": "allow"}


async def test_a_guest_is_made_on_the_member_that_answers_and_operations_are_waited_for_once(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.member = "one"
    fake.script = [Said(69, "not yet")]
    run = await run_guests(runner, guest_job("a"), keep=KeepPolicy.NEVER, wait_removal=True)
    assert run.record.status is Status.PASSED, run.log("a")
    created = fake.requests("POST instances")
    assert [asked.query["target"] for asked in created] == ["one"]
    looked = fake.requests("GET storage-pools/fast/volumes/image/.*")
    assert {asked.query["target"] for asked in looked} == {"one"}
    # Their URLs have parameters, which are no part of the operation's name.
    waits = fake.requests("GET operations/.*")
    assert len(waits) == len([*created, *fake.requests("POST instances/.*/exec")])
    assert all(asked.path.endswith("/wait") for asked in waits)
    assert all(asked.query["project"] == "pikaci" for asked in waits)
    assert Incus(fake.socket, "pikaci").server().member == "one"


async def test_elsewhere_no_request_names_a_member(runner: Runner, fake: FakeIncus) -> None:
    assert (await run_guests(runner, guest_job("a"))).record.status is Status.PASSED
    assert not [asked for asked in fake.asked if "target" in asked.query]


def test_a_restricted_project_must_let_members_be_asked_for() -> None:
    profile = Profile("d", {"root": {"type": "disk", "path": "/", "pool": "fast"}})
    needs = Needs(frozenset({"container"}), member="one")
    found = objections(OPEN, profile, "fast", needs)
    (text,) = found.texts
    assert "member one of the cluster (`restricted.cluster.target`)" in text
    assert found.project == {"restricted.cluster.target": "allow"}
    allowed = OPEN | {"restricted.cluster.target": "allow"}
    assert not objections(allowed, profile, "fast", needs).texts
    assert not objections(OPEN, profile, "fast", Needs(needs.kinds)).texts

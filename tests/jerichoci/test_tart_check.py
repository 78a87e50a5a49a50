"""Before any VM is made, a sentence names what its Mac lacks, and how to fix it.

What the command line shows of it is tested in `tests/tart`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jerichoci.errors import HostUnavailableError, InfrastructureError, PikaciError, UsageError
from jerichoci.nix.command import NixOptions
from jerichoci.placement import LocalSettings
from jerichoci.placement.local import LocalPlacement
from jerichoci.runtime.tart import check as tart_check
from jerichoci.runtime.tart.check import check_mac, check_vms, is_mac, toolchain
from jerichoci.runtime.tart.command import get_argv, list_argv
from plans import job
from tart_answers import described, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_subprocess import FakeProcess

    from jerichoci.machine.process import Completed
    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.state.layout import StateLayout

BASE, LINUX = "sequoia", "debian"
IMAGE = "ghcr.io/cirruslabs/macos-sequoia-base:latest"
SYSROOT = "/Users/ci/.rustup/toolchains/stable-aarch64-apple-darwin"
UNAME = ["uname", "-sm"]
RUSTC = ["rustc", "--print", "sysroot"]
CARGO = ["test", "-x", f"{SYSROOT}/bin/cargo"]
SOON_SECS = 0.2


class Host(LocalPlacement):
    """A machine named mac1, here or elsewhere, that may lack a program or be lost."""

    is_remote = False
    lacks = ""
    was_lost = False

    def __init__(self, layout: StateLayout) -> None:
        super().__init__(layout.root, NixOptions(), LocalSettings)
        self.host = "mac1"
        self.asked_in: list[Path | None] = []

    async def run(
        self, argv: Sequence[str], *, deadline_secs: float, cwd: Path | None = None
    ) -> Completed:
        if self.was_lost:
            raise HostUnavailableError(f"host {self.host} was lost")
        if argv[0] == self.lacks:
            raise InfrastructureError(f"{argv[0]} can't be started: No such file or directory")
        self.asked_in.append(cwd)
        return await super().run(argv, deadline_secs=deadline_secs, cwd=cwd)


@pytest.fixture
def host(layout: StateLayout, fp: FakeProcess) -> Host:
    for name in (BASE, "ventura"):
        fp.register(get_argv(name), stdout=described(), occurrences=9)
    fp.register(get_argv(LINUX), stdout=described("linux"))
    return Host(layout)


def vm_job(name: str = "greet", base: str = BASE, **config: Any) -> ExecuteNode:  # noqa: ANN401 - knobs
    return job(name).with_(runtime="tart", runtime_config={"base": base, **config})


async def test_a_mac_with_apple_silicon_will_do(host: Host, fp: FakeProcess) -> None:
    fp.register(UNAME, stdout="Darwin arm64\n", occurrences=2)
    await check_mac(host, [vm_job()])
    assert await is_mac(host)


@pytest.mark.parametrize(
    ("uname", "name"),
    [
        ("Linux x86_64\n", "Linux x86_64"),
        ("Linux aarch64\n", "Linux aarch64"),
        ("Darwin x86_64\n", "Darwin x86_64"),
        ("", "none"),
    ],
)
@pytest.mark.parametrize("is_remote", [False, True])
async def test_another_machine_is_refused_by_its_name(
    host: Host, fp: FakeProcess, uname: str, name: str, *, is_remote: bool
) -> None:
    host.is_remote = is_remote
    fp.register(UNAME, stdout=uname, occurrences=2)
    assert not await is_mac(host)
    with pytest.raises(UsageError) as caught:
        await check_mac(host, [vm_job(), vm_job("other")])
    where = "host mac1" if is_remote else "this machine"
    assert caught.value.message == (
        "job greet runs in a macOS VM (runtime tart), which needs a Mac with Apple silicon,"
        f" macOS 14 or later and tart; {where} is {name}"
    )
    hint = "place it on another host" if is_remote else "of one"
    assert (caught.value.hint or "").endswith(hint)


async def test_a_mac_that_has_the_bases_will_do_and_an_image_need_not_be_there(
    host: Host, fp: FakeProcess, tmp_path: Path
) -> None:
    fp.register(list_argv(), stdout=listed("ventura", BASE))
    fp.allow_unregistered(allow=True)
    shares = [{"name": "cache", "path": str(tmp_path), "read_only": False}]
    await check_vms(host, [vm_job(shares=shares), vm_job("b", "ventura"), vm_job(base=IMAGE)])


ANSWERS = {"returncode": 0, "stdout": listed(BASE, LINUX)}


@pytest.mark.parametrize(
    ("answers", "config", "sentence"),
    [
        (
            {"returncode": 1, "stderr": "no home directory\n"},
            {},
            r"tart on mac1 can't list its VMs: .* failed \(exit code 1\): no home directory; ",
        ),
        ({"stdout": "Source Name\n"}, {}, "pikaci needs a tart that has `exec`"),
        (
            ANSWERS,
            {"base": "sonoma"},
            "^mac1 has no VM sonoma, the base of job b; make it on the host .* name the image$",
        ),
        (
            ANSWERS,
            {"base": LINUX},
            "^VM debian on mac1, the base of job b, has no macOS; take a base with macOS",
        ),
        (
            {"stdout": listed(suspended=[BASE])},
            {},
            f"^VM {BASE} on mac1, the base of job b, is suspended: .*; `tart stop {BASE}`",
        ),
        (
            ANSWERS,
            {"shares": [{"name": "cache", "path": "/missing", "read_only": False}]},
            "^mac1 has no directory /missing, which job b shares; make it on the host",
        ),
        (
            ANSWERS,
            {"shares": [{"name": "cache", "path": __file__, "read_only": False}]},
            f"^mac1 has no directory {__file__}, which job b shares",
        ),
    ],
)
async def test_what_is_missing_is_named_with_its_job(
    host: Host, fp: FakeProcess, answers: dict[str, Any], config: dict[str, Any], sentence: str
) -> None:
    fp.register(list_argv(), **answers)
    fp.allow_unregistered(allow=True)
    with pytest.raises(PikaciError, match=sentence):
        await check_vms(host, [vm_job("b", **config)])


@pytest.mark.parametrize(
    ("lacks", "sentence"),
    [
        ("tart", r"^mac1 has no tart that answers: tart can't be started: .*; `brew install .*/t"),
        (
            "rustc",
            r"^mac1 has no Rust toolchain to share: rustc can't be started: .*; install it on mac1",
        ),
    ],
)
async def test_a_missing_program_is_named(
    host: Host, fp: FakeProcess, lacks: str, sentence: str
) -> None:
    fp.register(list_argv(), stdout=listed(BASE))
    host.lacks = lacks
    with pytest.raises(UsageError, match=sentence):
        await check_vms(host, [vm_job(mount_host_toolchain=True)])


async def test_a_toolchain_is_looked_for_only_where_a_job_wants_it(
    host: Host, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(BASE), occurrences=2)
    fp.register(RUSTC, stdout=f"{SYSROOT}\n")
    fp.register(CARGO)
    await check_vms(host, [vm_job(mount_host_toolchain=False)])
    assert fp.call_count(RUSTC) == 0
    wants = [vm_job(mount_host_toolchain=True), vm_job("b", mount_host_toolchain=True)]
    await check_vms(host, [vm_job(), *wants])
    assert fp.call_count(RUSTC) == 1


async def test_the_toolchain_is_that_of_the_tree(
    host: Host, fp: FakeProcess, tmp_path: Path
) -> None:
    fp.register(RUSTC, stdout=f"{SYSROOT}\n")
    fp.register(CARGO)
    assert await toolchain(host, tmp_path) == Path(SYSROOT)
    assert host.asked_in == [tmp_path, None]


async def test_an_incomplete_toolchain_is_refused(host: Host, fp: FakeProcess) -> None:
    stderr = "error: toolchain '1.80' is not installed\nhelp: run `rustup toolchain install`\n"
    fp.register(RUSTC, returncode=1, stderr=stderr)
    sentence = "no Rust toolchain to share: error: toolchain '1.80' is not installed help: run"
    with pytest.raises(UsageError, match=sentence):
        await toolchain(host)
    fp.register(RUSTC, stdout=f"{SYSROOT}\n")
    fp.register(CARGO, returncode=1)
    with pytest.raises(UsageError, match=f"toolchain of mac1 has no {SYSROOT}/bin/cargo; install"):
        await toolchain(host)


async def test_a_host_that_is_lost_lacks_nothing(host: Host) -> None:
    host.was_lost = True
    for checking in (
        check_mac(host, [vm_job()]),
        check_vms(host, [vm_job(mount_host_toolchain=True)]),
        toolchain(host),
    ):
        with pytest.raises(HostUnavailableError, match="host mac1 was lost"):
            await checking


async def test_a_program_that_does_not_end_is_named(
    host: Host, fp: FakeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("tart", "rustc"):
        (tmp_path / program).write_text("#!/bin/sh\nexec sleep 600\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("jerichoci.runtime.tart.command.LOOK_SECS", SOON_SECS)
    monkeypatch.setattr(tart_check, "FIND_SECS", SOON_SECS)
    fp.allow_unregistered(allow=True)
    sentence = r"answers: `tart list --source` did not end within 0\.2 s"
    with pytest.raises(UsageError, match=sentence):
        await check_vms(host, [vm_job()])
    with pytest.raises(UsageError, match=r"share: `rustc --print sysroot` did not end within 0\.2"):
        await toolchain(host)

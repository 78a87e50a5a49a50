"""Before any VM is made, a sentence says what its Mac lacks, and how to mend it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jerichoci.errors import HostUnavailableError, InfrastructureError, UsageError
from jerichoci.nix.command import NixOptions
from jerichoci.placement import LocalSettings
from jerichoci.placement.local import LocalPlacement
from jerichoci.runtime.tart import check as tart_check
from jerichoci.runtime.tart import toolchain as tart_toolchain
from jerichoci.runtime.tart.check import check_mac, check_vms, is_mac
from jerichoci.runtime.tart.command import TartError, get_argv, list_argv
from jerichoci.runtime.tart.toolchain import toolchain
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


class Near(LocalPlacement):
    """A machine without one of its programs, or none, or with all."""

    def __init__(self, layout: StateLayout) -> None:
        super().__init__(layout.root, NixOptions(), LocalSettings)
        self.host = "mac1"
        self.lacks: str | None = None
        self.asked_in: list[Path | None] = []

    async def run(
        self, argv: Sequence[str], *, deadline_secs: float, cwd: Path | None = None
    ) -> Completed:
        if argv[0] == self.lacks:
            raise InfrastructureError(f"{argv[0]} can't be started: No such file or directory")
        self.asked_in.append(cwd)
        return await super().run(argv, deadline_secs=deadline_secs, cwd=cwd)


class Far(Near):
    """Another machine."""

    @property
    def is_remote(self) -> bool:
        return True


class Lost(Far):
    """A machine that can't be reached any more."""

    async def run(
        self, argv: Sequence[str], *, deadline_secs: float, cwd: Path | None = None
    ) -> Completed:
        del argv, deadline_secs, cwd
        raise HostUnavailableError(f"host {self.host} was lost")


@pytest.fixture
def near(layout: StateLayout, fp: FakeProcess) -> Near:
    for name in (BASE, "ventura"):
        fp.register(get_argv(name), stdout=described(), occurrences=9)
    fp.register(get_argv(LINUX), stdout=described("linux"))
    return Near(layout)


def vm_job(name: str = "greet", base: str = BASE, **config: Any) -> ExecuteNode:  # noqa: ANN401 - knobs
    return job(name).with_(runtime="tart", runtime_config={"base": base, **config})


def sharing(path: str) -> ExecuteNode:
    return vm_job(shares=[{"name": "cache", "path": path, "read_only": False}])


async def test_a_mac_with_apple_silicon_will_do(near: Near, fp: FakeProcess) -> None:
    fp.register(UNAME, stdout="Darwin arm64\n", occurrences=2)
    await check_mac(near, [vm_job()])
    assert await is_mac(near)


@pytest.mark.parametrize("machine", ["Linux x86_64", "Linux aarch64", "Darwin x86_64"])
async def test_this_machine_is_told_to_be_no_such_mac(
    near: Near, fp: FakeProcess, machine: str
) -> None:
    fp.register(UNAME, stdout=f"{machine}\n", occurrences=2)
    assert not await is_mac(near)
    with pytest.raises(UsageError) as caught:
        await check_mac(near, [vm_job(), vm_job("other")])
    assert caught.value.message == (
        "job greet runs in a macOS VM (runtime tart), which needs a Mac with Apple silicon,"
        f" macOS 14 or later and tart; this machine is {machine}"
    )
    assert caught.value.hint == (
        'run it on such a Mac, or give it `placement = "remote_ssh"` and the `host` or `labels`'
        " of one"
    )


async def test_another_machine_is_told_to_be_no_such_mac_by_its_name(
    layout: StateLayout, fp: FakeProcess
) -> None:
    fp.register(UNAME, stdout="Linux x86_64\n")
    with pytest.raises(UsageError, match="tart; host mac1 is Linux x86_64; place it on another"):
        await check_mac(Far(layout), [vm_job()])


async def test_a_machine_that_says_nothing_is_no_mac(near: Near, fp: FakeProcess) -> None:
    fp.register(UNAME, returncode=1)
    with pytest.raises(UsageError, match="this machine is none"):
        await check_mac(near, [vm_job()])


async def test_a_mac_that_has_the_base_will_do(near: Near, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed("ventura", BASE))
    await check_vms(near, [vm_job(), vm_job("other", "ventura")])


async def test_tart_is_told_to_be_missing(near: Near) -> None:
    near.lacks = "tart"
    sentence = r"^mac1 has no tart that answers: tart can't be started: .*; `brew install .*/tart`"
    with pytest.raises(UsageError, match=sentence):
        await check_vms(near, [vm_job()])


async def test_a_tart_that_fails_is_quoted(near: Near, fp: FakeProcess) -> None:
    fp.register(list_argv(), returncode=1, stderr="no home directory\n")
    with pytest.raises(UsageError, match="tart on mac1 can't list its VMs: no home directory; "):
        await check_vms(near, [vm_job()])


async def test_a_tart_of_another_kind_is_told_of(near: Near, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout="Source Name\n")
    with pytest.raises(TartError, match="pikaci needs a tart that has `exec`"):
        await check_vms(near, [vm_job()])


async def test_a_base_that_is_missing_is_named_with_its_job(near: Near, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed(BASE))
    with pytest.raises(UsageError) as caught:
        await check_vms(near, [vm_job(), vm_job("other", "sonoma")])
    assert caught.value.message == "mac1 has no VM sonoma, the base of job other"
    assert caught.value.hint == (
        "make it on the host (`tart clone REGISTRY/IMAGE sonoma`), or name the image"
    )


async def test_a_base_without_macos_is_refused(near: Near, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed(BASE, LINUX))
    sentence = "^VM debian on mac1, the base of job other, has no macOS; take a base with macOS"
    with pytest.raises(UsageError, match=sentence):
        await check_vms(near, [vm_job(), vm_job("other", LINUX)])


async def test_a_base_that_is_suspended_is_refused(near: Near, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed("other", suspended=[BASE]))
    sentence = f"^VM {BASE} on mac1, the base of job greet, is suspended: .*; `tart stop {BASE}`"
    with pytest.raises(UsageError, match=sentence):
        await check_vms(near, [vm_job()])


async def test_an_image_of_a_registry_need_not_be_there(near: Near, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed())
    await check_vms(near, [vm_job(base=IMAGE)])


async def test_a_directory_that_is_shared_is_there(
    near: Near, fp: FakeProcess, tmp_path: Path
) -> None:
    fp.register(list_argv(), stdout=listed(BASE))
    fp.allow_unregistered(allow=True)
    await check_vms(near, [sharing(str(tmp_path))])


@pytest.mark.parametrize("name", ["missing", "file"])
async def test_a_directory_that_is_none_is_named_with_its_job(
    near: Near, fp: FakeProcess, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    fp.register(list_argv(), stdout=listed(BASE))
    fp.allow_unregistered(allow=True)
    sentence = (
        f"mac1 has no directory {tmp_path}/{name}, which job greet shares; make it on the host"
    )
    with pytest.raises(UsageError, match=sentence):
        await check_vms(near, [sharing(f"{tmp_path}/{name}")])


async def test_a_toolchain_is_looked_for_only_where_a_job_wants_it(
    near: Near, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(BASE), occurrences=2)
    fp.register(RUSTC, stdout=f"{SYSROOT}\n")
    fp.register(CARGO)
    await check_vms(near, [vm_job(mount_host_toolchain=False)])
    assert fp.call_count(RUSTC) == 0
    wants = [vm_job(mount_host_toolchain=True), vm_job("b", mount_host_toolchain=True)]
    await check_vms(near, [vm_job(), *wants])
    assert fp.call_count(RUSTC) == 1


async def test_the_toolchain_is_that_of_the_tree(
    near: Near, fp: FakeProcess, tmp_path: Path
) -> None:
    fp.register(RUSTC, stdout=f"{SYSROOT}\n")
    fp.register(CARGO)
    assert await toolchain(near, tmp_path) == Path(SYSROOT)
    assert near.asked_in == [tmp_path, None]


async def test_rustc_is_told_to_be_missing(near: Near) -> None:
    near.lacks = "rustc"
    with pytest.raises(UsageError) as caught:
        await toolchain(near)
    assert caught.value.message == (
        "mac1 has no Rust toolchain to share: rustc can't be started: No such file or directory"
    )
    assert caught.value.hint == "install it on mac1 (rustup), or take a base that has one"


async def test_a_toolchain_that_is_not_installed_is_told_of_in_rustups_words(
    near: Near, fp: FakeProcess
) -> None:
    stderr = "error: toolchain '1.80' is not installed\nhelp: run `rustup toolchain install`\n"
    fp.register(RUSTC, returncode=1, stderr=stderr)
    sentence = "no Rust toolchain to share: error: toolchain '1.80' is not installed help: run"
    with pytest.raises(UsageError, match=sentence):
        await toolchain(near)


async def test_a_toolchain_without_cargo_is_refused(near: Near, fp: FakeProcess) -> None:
    fp.register(RUSTC, stdout=f"{SYSROOT}\n")
    fp.register(CARGO, returncode=1)
    with pytest.raises(UsageError, match=f"toolchain of mac1 has no {SYSROOT}/bin/cargo; install"):
        await toolchain(near)


async def test_a_host_that_is_lost_lacks_nothing(layout: StateLayout) -> None:
    lost = Lost(layout)
    for checking in (
        check_mac(lost, [vm_job()]),
        check_vms(lost, [vm_job(mount_host_toolchain=True)]),
        toolchain(lost),
    ):
        with pytest.raises(HostUnavailableError, match="host mac1 was lost"):
            await checking


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that don't end."""
    for program in ("tart", "rustc"):
        (tmp_path / program).write_text("#!/bin/sh\nexec sleep 600\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(tart_check, "LOOK_SECS", SOON_SECS)
    monkeypatch.setattr(tart_toolchain, "FIND_SECS", SOON_SECS)


@pytest.mark.usefixtures("slow")
async def test_a_program_that_does_not_end_is_told_of_as_such(near: Near, fp: FakeProcess) -> None:
    fp.allow_unregistered(allow=True)
    with pytest.raises(
        UsageError, match=r"answers: `tart list --source` did not end within 0\.2 s"
    ):
        await check_vms(near, [vm_job()])
    with pytest.raises(UsageError, match=r"share: `rustc --print sysroot` did not end within 0\.2"):
        await toolchain(near)

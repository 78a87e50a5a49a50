"""What a host must be, and have, before jobs start in macOS VMs on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import HostUnavailableError, InfrastructureError, UsageError
from jerichoci.runtime.tart.command import (
    LOOK_SECS,
    MACOS,
    TartError,
    Vm,
    get_argv,
    last_stderr_lines,
    list_vms,
    parse_os,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.placement import Placement
    from jerichoci.plan.plan import ExecuteNode

FIND_SECS = 900.0
"""For rustup to fetch the toolchain that a source tree names."""
A_MAC = "Darwin arm64"


async def check_mac(placement: Placement, nodes: Sequence[ExecuteNode]) -> None:
    """Refuse a host that is no Mac that can run VMs with macOS."""
    machine = await _machine(placement)
    if machine == A_MAC:
        return
    where = f"host {placement.host}" if placement.is_remote else "this machine"
    hint = 'run it on such a Mac, or give it `placement = "remote_ssh"` and the `host` or `labels`'
    raise UsageError(
        f"job {nodes[0].job_id} runs in a macOS VM (runtime tart), which needs a Mac with Apple"
        f" silicon, macOS 14 or later and tart; {where} is {machine or 'none'}",
        "place it on another host" if placement.is_remote else f"{hint} of one",
    )


async def check_vms(placement: Placement, nodes: Sequence[ExecuteNode]) -> None:
    """Refuse a Mac without tart, or without what these jobs' VMs are made from."""
    known = {vm.name: vm for vm in await known_vms(placement)}
    for node in nodes:
        base = str(node.runtime_config["base"])
        if "/" not in base and base not in known:
            raise UsageError(
                f"{placement.host} has no VM {base}, the base of job {node.job_id}",
                f"make it on the host (`tart clone REGISTRY/IMAGE {base}`), or name the image",
            )
        if base in known and await system_of(placement, base) != MACOS:
            raise UsageError(
                f"VM {base} on {placement.host}, the base of job {node.job_id}, has no macOS",
                "take a base with macOS; jobs of Linux run in Incus guests",
            )
        if base in known and known[base].state == "suspended":
            raise UsageError(
                f"VM {base} on {placement.host}, the base of job {node.job_id}, is suspended: its"
                " clones would resume with its memory and its shares",
                f"`tart stop {base}` discards that, or boot it and shut it down",
            )
        for row in node.runtime_config.get("shares") or ():
            path = str(row["path"])
            done = await placement.run(["test", "-d", path], deadline_secs=LOOK_SECS)
            if done.exit_code != 0:
                raise UsageError(
                    f"{placement.host} has no directory {path}, which job {node.job_id} shares",
                    "make it on the host, or change the job's `tart.shares`",
                )
    if any(node.runtime_config.get("mount_host_toolchain") for node in nodes):
        await toolchain(placement)


async def is_mac(placement: Placement) -> bool:
    """Whether the host is a Mac that can run VMs with macOS."""
    return await _machine(placement) == A_MAC


async def _machine(placement: Placement) -> str:
    done = await placement.run(["uname", "-sm"], deadline_secs=LOOK_SECS)
    return done.stdout.decode("utf-8", "replace").strip()


async def known_vms(placement: Placement) -> list[Vm]:
    """The VMs of the user on a Mac."""
    hint = "`brew install openai/tools/tart`, or its place in the `search_path` of hosts.toml"
    try:
        return await list_vms(lambda argv, secs: placement.run(argv, deadline_secs=secs))
    except HostUnavailableError:
        raise
    except TartError as error:
        sentence = f"tart on {placement.host} can't list its VMs: {error.message}"
        raise UsageError(sentence, error.hint or hint) from error
    except InfrastructureError as error:
        sentence = f"{placement.host} has no tart that answers: {error.message}"
        raise UsageError(sentence, hint) from error


async def system_of(placement: Placement, name: str) -> str:
    """The operating system of a VM."""
    return parse_os(await placement.run(get_argv(name), deadline_secs=LOOK_SECS))


async def toolchain(placement: Placement, cwd: Path | None = None) -> Path:
    """The directory on the host whose `bin` has `rustc` and `cargo`; that of the tree at `cwd`."""
    lack = f"{placement.host} has no Rust toolchain to share"
    hint = f"install it on {placement.host} (rustup), or take a base that has one"
    argv = ["rustc", "--print", "sysroot"]
    try:
        done = await placement.run(argv, deadline_secs=FIND_SECS, cwd=cwd)
    except HostUnavailableError:
        raise
    except InfrastructureError as error:
        raise UsageError(f"{lack}: {error.message}", hint) from error
    if done.exit_code != 0:
        raise UsageError(f"{lack}: {last_stderr_lines(done)}", hint)
    sysroot = Path(os.fsdecode(done.stdout.strip()))
    cargo = sysroot / "bin" / "cargo"
    if (await placement.run(["test", "-x", str(cargo)], deadline_secs=FIND_SECS)).exit_code != 0:
        raise UsageError(f"the Rust toolchain of {placement.host} has no {cargo}", hint)
    return sysroot

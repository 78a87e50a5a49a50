"""The Rust toolchain of a Mac, for the VMs on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import HostUnavailableError, InfrastructureError, UsageError
from jerichoci.runtime.tart.command import last_stderr_lines

if TYPE_CHECKING:
    from jerichoci.placement import Placement

FIND_SECS = 900.0
"""For rustup to fetch the toolchain that a source tree names."""


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

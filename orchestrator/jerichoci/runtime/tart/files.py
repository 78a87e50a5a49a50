"""What a Mac guest needs of pikaci beside the job: the runner, and the script that leads to it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

RUNNER = "pikaci-incus-run"
BOOTSTRAP = "bootstrap.sh"
_IN_CHECKOUT = {RUNNER: "nix/incus/pikaci-incus-run.py", BOOTSTRAP: "nix/tart/bootstrap.sh"}


@cache
def guest_file(name: str) -> bytes:
    """The runner or the bootstrap, of the package, or of the checkout that this module is in."""
    packaged = Path(__file__).with_name("guest_files") / name
    if packaged.exists():
        return packaged.read_bytes()
    return (Path(__file__).parents[4] / _IN_CHECKOUT[name]).read_bytes()

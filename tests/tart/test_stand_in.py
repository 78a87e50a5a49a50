"""The stand-in of Tart does what Tart is documented to do, and goes wrong as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tart.mac import Mac


def test_a_vm_runs_on_a_far_host(far_mac: Mac) -> None:
    far_mac.run_by_somebody("theirs")
    assert far_mac.vms() == {"theirs": "running"}
    done = far_mac.tart("exec", "theirs", "/usr/bin/id", "-un")
    assert done.stdout == "admin\n"


def test_a_vm_runs(mac: Mac) -> None:
    mac.run_by_somebody("theirs")
    assert mac.vms() == {"theirs": "running"}
    assert mac.tart("exec", "theirs", "id", "-un").stdout == "admin\n"

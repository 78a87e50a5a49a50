"""Tart, and what it has for jobs in macOS VMs: only a Mac is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.errors import HostUnavailableError, InfrastructureError, PikaciError, UsageError
from jerichoci.machine.slots import MACOS_VMS
from jerichoci.runtime.tart.check import is_mac, known_vms
from pikaci.doctor.finding import Finding, note, ok, trouble

if TYPE_CHECKING:
    from jerichoci.placement import Placement

LOOK_SECS = 60.0
"""For a program of the host to answer."""
OLDEST_MACOS = 14
"""`tart exec` needs it."""


async def vm_findings(placement: Placement) -> list[Finding]:
    """Whether jobs can run in macOS VMs; nothing, where the machine is no Mac for it."""
    if not await is_mac(placement):
        return []
    try:
        version = await _answer(placement, "tart", "--version")
        known = await known_vms(placement)
    except HostUnavailableError:
        raise
    except UsageError as error:
        return [trouble("tart", error, "`brew install openai/tools/tart`", needed=False)]
    except PikaciError as error:
        text = "not installed: jobs can't run in macOS VMs"
        return [note("tart", f"{text} ({error.message})", "`brew install openai/tools/tart`")]
    running = [vm.name for vm in known if vm.is_running]
    findings = [ok("tart", f"{version}; {len(known)} VMs, {len(running)} running")]
    release = await _answer(placement, "sw_vers", "-productVersion")
    major = release.partition(".")[0]
    if not major.isdecimal() or int(major) < OLDEST_MACOS:
        text = f"macOS {release or 'of no version'}: tart can run nothing in VMs"
        findings.append(note("macos", text, f"macOS {OLDEST_MACOS} or later"))
    if len(running) >= MACOS_VMS:
        text = f"{', '.join(running)} run now: jobs wait while {MACOS_VMS} have macOS"
        findings.append(note("macos vms", text, "`tart stop NAME` stops one"))
    return findings


async def _answer(placement: Placement, *argv: str) -> str:
    """What a program prints; nothing, where there is no such program."""
    try:
        done = await placement.run(argv, deadline_secs=LOOK_SECS)
    except HostUnavailableError:
        raise
    except InfrastructureError:
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.ok else ""

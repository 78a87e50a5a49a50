"""Hosts that say what no agent would, before there is one."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import PikaciError
from jerichoci.nix.command import NixOptions
from jerichoci.plan.hosts import known_hosts_of_run, load_hosts
from jerichoci.remote import attachment
from jerichoci.remote.pool import SessionPool

if TYPE_CHECKING:
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

SAYS = "pikaci-agent"
ATTACHED = f"echo '{SAYS} {{\"attached\": true}}'"
DEEP = "head -c 200000 /dev/zero | tr '\\0' '['"
LENGTHS = r"\x00\x03\x0d\x40\0\0\0\0"
"""Of a frame that has just that."""
MOST_KIB = 200 * 1024
"""Of memory that a host can have us take."""


@pytest.mark.parametrize(
    "says",
    [
        "cat /dev/zero",
        "cat /dev/zero >&2",
        "yes",
        f"echo '{SAYS} 5'; sleep 60",
        f"echo '{SAYS} {{\"fault\": 5}}'; sleep 60",
        f'echo \'{SAYS} {{"fault": {{"what": "os", "errno": [], "path": null}}}}\'',
        f'echo \'{SAYS} {{"gone": true, "boot_id": 5}}\'',
        f"printf '{SAYS} '; {DEEP}; echo",
        f"{ATTACHED}; cat /dev/urandom",
        f"{ATTACHED}; cat /dev/zero",
        f"{ATTACHED}; printf '{LENGTHS}'; {DEEP}",
    ],
)
async def test_a_host_that_says_anything_is_an_error_in_a_sentence(
    far_host: FarHost, hosts_config: WriteHosts, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setattr(attachment, "BOOT_SECS", 5.0)
    hosts_config(far_host)
    login = far_host.home / "says"
    login.write_text(f"{says}\n")
    keys = far_host.directory / "authorized_keys"
    before = keys.read_text()
    keys.write_text(f'command="bash {login}" {before}')
    host = known_hosts_of_run({}, load_hosts())[far_host.name]
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        async with SessionPool() as pool:
            with pytest.raises(PikaciError) as raised:
                await pool.session(host, NixOptions()).open()
    finally:
        keys.write_text(before)
    assert far_host.name in raised.value.message
    assert len(raised.value.message) < 5000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - kib < MOST_KIB

"""A far host and the tests' Incus are what one machine's are: one reaches the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remote.session import connected, told

if TYPE_CHECKING:
    from incus.server import IncusServer
    from remote.far_host import FarHost

REQUEST = b"GET /1.0 HTTP/1.1\r\nHost: incus\r\nConnection: close\r\n\r\n"


async def test_incus_answers_through_ssh(far_host: FarHost, far_incus: IncusServer) -> None:
    async with connected(far_host) as connection:
        reader, writer = await connection.open_unix_connection(str(far_incus.socket), encoding=None)
        writer.write(REQUEST)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, _ = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    _, _, body = answer.partition(b"{")
    assert b'"auth":"trusted"' in body


async def test_a_guest_has_what_the_host_wrote_and_the_host_what_the_guest_did(
    far_host: FarHost, far_incus: IncusServer
) -> None:
    async with connected(far_host) as connection:
        shared = f"{far_host.work_dir}/shared"
        await told(connection, f"mkdir -m 755 {shared}; echo from the host > {shared}/file")
        name = far_host.name
        far_incus.incus("init", "--quiet", far_incus.image_alias, name)
        places = [f"source={shared}", "path=/mnt", "shift=true"]
        far_incus.incus("config", "device", "add", name, "shared", "disk", *places)
        far_incus.incus("start", "--quiet", name)
        script = "cat /mnt/file; echo from the guest > /mnt/answer"
        assert far_incus.incus("exec", name, "--", "sh", "-c", script) == "from the host\n"
        assert await told(connection, f"cat {shared}/answer") == "from the guest"

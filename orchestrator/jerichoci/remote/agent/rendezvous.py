"""Where an agent, its relays and those who end it meet: names in a session's directory.

Imports nothing: a relay runs anew with each connection.
"""

from __future__ import annotations

SOCKET = "socket"
LISTENING = b"listening"
LOCK = "lock"
"""Held by an agent as long as it lives."""


def boot_id() -> str | None:
    """What is another one after each boot; None where the kernel has no such thing."""
    try:
        with open(  # noqa: PTH123 - pathlib takes 5 ms
            "/proc/sys/kernel/random/boot_id", encoding="ascii"
        ) as file:
            return file.read().strip()
    except OSError:
        return None

"""Secrets on their way to a job of this host: through memory, into files in memory.

They come to a job's first process on a descriptor, whose number is in a variable. It makes a tmpfs
in the job's own mount namespace, so nothing outside sees the files, and they are gone when the last
process of the job is. The kernel keeps them out of swap where it can (Linux 6.4, root).
"""

from __future__ import annotations

import base64
import os
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.job_start import GIVEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DESCRIPTOR = "PIKACI_SECRETS"
"""The variable of a job's first process, which the job itself doesn't have."""
PREFIX = "PIKACI_SECRET_"
REDACTOR = Path(__file__).with_name("redact.py")
"""A program, here and in guests."""
_SETUP = """
mkdir -p {0} && {{ mount -t tmpfs -o mode=0700,noswap pikaci-secrets {0} 2>/dev/null ||
  mount -t tmpfs -o mode=0700 pikaci-secrets {0}; }} || exit 125
while IFS=' ' read -r name data; do
  (umask 0277 && printf %s "$data" | base64 -d >{0}/"$name") || exit 125
done <"/proc/self/fd/$PIKACI_SECRETS"
: >"/proc/self/fd/$PIKACI_SECRETS" && exec {{PIKACI_SECRETS}}>&- || exit 125
mount -o remount,ro {0} || exit 125
unset PIKACI_SECRETS name data
"""


def setup_text(directory: Path) -> str:
    """The shell text by which a job's first process makes the files."""
    return _SETUP.format(shlex.quote(str(directory)))


def paths(names: Sequence[str], directory: str) -> dict[str, str]:
    """The job's variables: where the file of each secret is."""
    return {f"{PREFIX}{name}": f"{directory}/{name}" for name in names}


def named(secrets: Mapping[str, bytes]) -> bytes:
    """Names and values, a line each."""
    rows = [name.encode() + b" " + base64.b64encode(value) for name, value in secrets.items()]
    return b"".join(row + b"\n" for row in rows)


def redacting_argv(descriptor: int) -> list[str]:
    """Copies stdin to stdout without the secrets of a descriptor, which `unnamed` wrote."""
    return [sys.executable, "-IS", str(REDACTOR), str(descriptor)]


def unnamed(secrets: Sequence[bytes]) -> bytes:
    """Values, a line each."""
    return b"".join(base64.b64encode(value) + b"\n" for value in secrets)


@contextmanager
def giving(secrets: Mapping[str, bytes]) -> Iterator[tuple[dict[str, str], list[int]]]:
    """The variables of a job's setup, and the descriptors by which it gets the secrets."""
    if not secrets:
        yield {}, []
        return
    with in_memory(named(secrets)) as fd:
        yield {DESCRIPTOR: str(GIVEN)}, [fd]


@contextmanager
def in_memory(data: bytes) -> Iterator[int]:
    """A descriptor from which the data can be read, and which is on no disk."""
    if not hasattr(os, "memfd_create"):
        raise InfrastructureError(f"secrets can't be given to jobs on {sys.platform}")
    fd = os.memfd_create("pikaci-secrets", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)

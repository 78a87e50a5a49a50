"""Where secrets are found, on the machine where pikaci runs.

- `file`, `env`, `command` and `credential` (of systemd) are the machine's own.
- `age` and `sops` are files of the source tree, which those programs decrypt here.
- A line end after what a command, sops or a variable gives is no part of a secret. Files are taken
  as they are.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine import process
from jerichoci.machine.redact import LEAST_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from jerichoci.plan.secrets import Secret

MOST_BYTES = 64 * 1024
"""Of one secret; guests keep them in memory that has no more room for many."""
COMMAND_SECS = 120.0
"""For a program that asks a server, or a person for a key."""
SAID_CHARACTERS = 200
"""Of what a program that failed said, in a message."""
SOPS_TYPES = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".env": "dotenv", ".ini": "ini"}
"""What sops takes a file for, by its suffix; else it is the encrypted whole of some file."""


class MissingSecretError(Exception):
    """There is no such secret; the text says why."""


class Sources:
    """Finds secrets; `read_tree` reads a file of the source tree by its path."""

    def __init__(
        self, environment: Mapping[str, str], read_tree: Callable[[str], Awaitable[bytes]]
    ) -> None:
        self._environment = environment
        self._read_tree = read_tree

    async def find(self, job: str, secret: Secret) -> bytes:
        """The value of a job's secret.

        Raises:
            UsageError: there is none, or it can't be one.
        """
        try:
            value = await self._value(secret)
            check_size(value)
        except (MissingSecretError, InfrastructureError) as error:
            why = error.message if isinstance(error, InfrastructureError) else str(error)
            raise UsageError(
                f"secret {secret.name} of job {job} can't be had: {why}",
                f"its source is `{secret.kind}` on the machine where pikaci runs"
                " (docs/secrets.md); no job was started",
            ) from None
        return value

    async def _value(self, secret: Secret) -> bytes:
        match secret.kind:
            case "file":
                return read_file(self._expanded(secret.value))
            case "credential":
                return read_file(self._credential(secret.value))
            case "env":
                value = self._environment.get(secret.value)
                if value is None:
                    raise MissingSecretError(f"the variable {secret.value} is not set")
                return without_line_end(os.fsencode(value))
            case "command":
                argv = ["bash", "--noprofile", "--norc", "-c", secret.value]
                return without_line_end(await _printed(argv, b"", "its command"))
            case "age":
                identity = str(self._expanded(secret.identity or ""))
                argv = ["age", "--decrypt", "--identity", identity]
                return await _printed(argv, await self._read_tree(secret.value), "age")
            case "sops":
                argv = sops_argv(secret.value, secret.key)
                data = await self._read_tree(secret.value)
                return without_line_end(await _printed(argv, data, "sops"))

    def _expanded(self, path: str) -> Path:
        home = self._environment.get("HOME") or str(Path.home())
        return Path(home, path[2:]) if path.startswith("~/") else Path(path)

    def _credential(self, name: str) -> Path:
        directory = self._environment.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise MissingSecretError(
                "CREDENTIALS_DIRECTORY is not set: pikaci runs in no service with credentials"
            )
        return Path(directory, name)


def sops_argv(path: str, key: str | None) -> list[str]:
    """What decrypts the file of that name, given on stdin; `a.b` is the key b of a."""
    kind = SOPS_TYPES.get(PurePosixPath(path).suffix, "binary")
    types = [f"--input-type={kind}", f"--output-type={kind}"]
    if not key:
        return ["sops", "--decrypt", *types, "/dev/stdin"]
    place = "".join(f"[{json.dumps(part)}]" for part in key.split("."))
    return ["sops", "--decrypt", *types, "--extract", place, "/dev/stdin"]


def read_file(path: Path) -> bytes:
    """A regular file, MOST_BYTES and one at most."""
    try:
        # A pipe is not waited for.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MissingSecretError(f"{path} is no file")
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        why = "no such file" if error.errno == errno.ENOENT else error.strerror
        raise MissingSecretError(f"{path}: {why}") from None


def check_size(value: bytes) -> None:
    """Refuse what logs can't be kept clear of, and what is too large to be kept in memory."""
    shown = len(value.strip(b"\r\n"))
    if not shown:
        raise MissingSecretError("it is empty")
    if shown < LEAST_BYTES:
        raise MissingSecretError(
            f"it has {shown} bytes, and logs can't be kept clear of fewer than {LEAST_BYTES}"
        )
    if len(value) > MOST_BYTES:
        raise MissingSecretError(f"it is larger than {MOST_BYTES // 1024} KiB")


def without_line_end(value: bytes) -> bytes:
    """The same without the line end that programs print after it."""
    return value.removesuffix(b"\n").removesuffix(b"\r")


async def _printed(argv: Sequence[str], given: bytes, name: str) -> bytes:
    done = await process.run(argv, deadline_secs=COMMAND_SECS, stdin=given)
    if not done.ok:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        why = f": {said[:SAID_CHARACTERS]}" if said else ""
        raise MissingSecretError(f"{name} failed (exit code {done.exit_code}){why}")
    return done.stdout

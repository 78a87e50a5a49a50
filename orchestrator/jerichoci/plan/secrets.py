"""What a plan says of a job's secrets: where each is found, never its value."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jerichoci.plan.model import Model


class Secret(Model):
    """A value that pikaci finds where it runs, and that the job alone gets.

    `value` is a path, a variable's name, a shell command, or a systemd credential's name, by
    `kind`; for `age` and `sops` a path in the repository.
    """

    name: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    kind: Literal["file", "env", "command", "credential", "age", "sops"]
    value: str
    identity: str | None = Field(default=None, description="of age: the file with the identity")
    key: str | None = Field(default=None, description="of sops: the path in the document")
    branches: list[str] = Field(default=[], description="globs; none: all branches")

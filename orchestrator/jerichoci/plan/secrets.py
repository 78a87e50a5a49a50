"""What a plan says of a job's secrets: where each is found, never its value."""

from __future__ import annotations

from typing import Literal

from jerichoci.plan.model import Model
from jerichoci.plan.rule import field


class Secret(Model):
    """A value that pikaci finds where it runs, and that the job alone gets.

    `value` is a path, a variable's name, a shell command, or a systemd credential's name, by
    `kind`; for `age` and `sops` a path in the repository.
    """

    name: str = field(pattern=r"^[A-Z][A-Z0-9_]*$")
    kind: Literal["file", "env", "command", "credential", "age", "sops"]
    value: str
    identity: str | None = field(default=None, description="of age: the file with the identity")
    key: str | None = field(default=None, description="of sops: the path in the document")
    branches: list[str] = field(default=[], description="globs; none: all branches")

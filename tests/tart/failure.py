"""How the program ends other than well."""

from __future__ import annotations

OTHER, MISSING, USAGE, NOT_MADE = 1, 2, 64, 70
"""The last: of what the fake lacks."""


class Failure(Exception):  # noqa: N818 - it is no error of the program's
    """What the program says on stderr before it ends with an exit code."""

    def __init__(self, message: str, code: int = OTHER) -> None:
        super().__init__(message)
        self.code = code


def missing(name: str) -> Failure:
    return Failure(f'the specified VM "{name}" does not exist', MISSING)


def not_running(name: str) -> Failure:
    return Failure(f'VM "{name}" is not running', MISSING)


def wrong(message: str, usage: str = "tart <subcommand>") -> Failure:
    return Failure(f"Error: {message}\nUsage: {usage}\n  See 'tart --help' for more.", USAGE)

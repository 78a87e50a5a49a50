"""What can go wrong, each with the exit code that it ends in."""

from __future__ import annotations

import click

EXIT_FINE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_ALLOWED = 4
EXIT_SERVER_LOST = 75
EXIT_INTERRUPTED = 130


class PhError(click.ClickException):
    """A sentence and what may help; `hint` is another sentence."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class RefusedError(PhError):
    """The server understood, and did not do it."""


class UsageError(PhError):
    """What was asked for does not exist, or makes no sense."""

    exit_code = EXIT_USAGE


class NotAllowedError(PhError):
    """No token, a wrong one, or one whose role does not allow it."""

    exit_code = EXIT_NOT_ALLOWED


class ServerLostError(PhError):
    """The server is not there, or what it says is no answer."""

    exit_code = EXIT_SERVER_LOST
    may_return = True
    """Whether it makes sense to ask again."""

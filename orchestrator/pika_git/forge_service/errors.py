"""Why the forge does not do what it is asked to."""

from __future__ import annotations

from pika_git.persistence.queue import RefusedError as ConflictError

__all__ = ["ConflictError", "GoneError", "InvalidError", "MissingError"]


class MissingError(Exception):
    """What is asked for does not exist."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InvalidError(Exception):
    """What is asked for makes no sense."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class GoneError(Exception):
    """What is asked for existed and was removed."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

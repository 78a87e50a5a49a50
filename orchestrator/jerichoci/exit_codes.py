"""The exit codes of `pikaci`, and which a run's end asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.status import FailureKind, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

EXIT_PASSED = 0
EXIT_TEST_FAILURE = 1
EXIT_USAGE = 2
EXIT_INFRASTRUCTURE = 75
EXIT_TIMEOUT = 124
EXIT_CANCELLED = 130

KIND_EXITS = {
    FailureKind.TEST_FAILURE: EXIT_TEST_FAILURE,
    FailureKind.TIMEOUT: EXIT_TIMEOUT,
    FailureKind.INFRASTRUCTURE: EXIT_INFRASTRUCTURE,
}


def exit_code(status: Status, kind: FailureKind | None) -> int:
    """The exit code of `pikaci run` for a run that ended so."""
    match status:
        case Status.PASSED | Status.SKIPPED:
            return EXIT_PASSED
        case Status.CANCELLED:
            return EXIT_CANCELLED
        case _:
            return KIND_EXITS[kind or FailureKind.INFRASTRUCTURE]


_FIRST = (EXIT_TEST_FAILURE, EXIT_TIMEOUT, EXIT_INFRASTRUCTURE, EXIT_CANCELLED)
"""Which exit code several runs have: the first that one of them has."""


def exit_code_of_all(ends: Iterable[tuple[Status, FailureKind | None]]) -> int:
    """The exit code of `pikaci run` for runs that ended so."""
    codes = {exit_code(status, kind) for status, kind in ends}
    return next((code for code in _FIRST if code in codes), EXIT_PASSED)

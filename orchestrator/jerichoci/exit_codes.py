"""The exit codes of `pikaci`, and which a run's end asks for."""

from __future__ import annotations

from jerichoci.status import FailureKind, Status

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

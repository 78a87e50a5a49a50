"""The closed sets that records and events speak in."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What became of a run, a job or an attempt."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing comes after it."""
        return self is not Status.RUNNING


class FailureKind(StrEnum):
    """Whose fault a failure is, in the order in which a run takes it from its jobs."""

    TEST_FAILURE = "test_failure"
    TIMEOUT = "timeout"
    INFRASTRUCTURE = "infrastructure"


class PhaseName(StrEnum):
    """The steps of a job, in order."""

    PREPARE_DIRECTORIES = "prepare_directories"
    STAGE_WORKSPACE_SNAPSHOT = "stage_workspace_snapshot"
    PREPARE_RUNTIME = "prepare_runtime"
    LAUNCH_GUEST = "launch_guest"
    WAIT_FOR_COMPLETION = "wait_for_completion"
    COLLECT_ARTIFACTS = "collect_artifacts"
    CLEANUP = "cleanup"


PREPARE_PHASE = "prepare"
"""The phase of a cause that lies before a job: what it needs could not be made."""


class Outcome(StrEnum):
    """How a phase or a prepare ended; `started` is the outcome of an event that opens one."""

    STARTED = "started"
    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TestFormat(StrEnum):
    """What a test report is written in."""

    __test__ = False  # for pytest: this is no test

    JUNIT = "junit"
    TAP = "tap"
    GO = "go"
    CARGO = "cargo"


class TestStatus(StrEnum):
    """How a test ended; `error`: it broke, or could not be compiled, before it could fail."""

    __test__ = False

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


class CauseCode(StrEnum):
    """Why something failed, for programs; `Cause.message` says it for people."""

    COMMAND_FAILED = "command_failed"
    COMMAND_TIMED_OUT = "command_timed_out"
    COMMAND_SILENT = "command_silent"
    SERVICE_FAILED = "service_failed"
    COMMAND_UNAVAILABLE = "command_unavailable"
    BUILD_FAILED = "build_failed"
    BUILD_TIMED_OUT = "build_timed_out"
    HOST_COMMAND_FAILED = "host_command_failed"
    HOST_COMMAND_TIMED_OUT = "host_command_timed_out"
    OUTPUT_MISSING = "output_missing"
    PAYLOAD_INVALID = "payload_invalid"
    PREPARE_UNAVAILABLE = "prepare_unavailable"
    DEPENDENCY_FAILED = "dependency_failed"
    RUNTIME_UNAVAILABLE = "runtime_unavailable"
    HOST_UNAVAILABLE = "host_unavailable"
    INTERNAL_ERROR = "internal_error"
    ENVIRONMENT_FAILED = "environment_failed"
    OWNER_DIED = "owner_died"
    RECORD_REMOVED = "record_removed"
    CANCELLED = "cancelled"
    FAIL_FAST = "fail_fast"
    FILTERED = "filtered"
    NOT_SELECTED = "not_selected"


class KeepPolicy(StrEnum):
    """Whether what a job ran in outlives it."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class CacheUse(StrEnum):
    """What a run does with the caches of its jobs."""

    OFF = "off"
    READ = "read"
    WRITE = "write"


class LogKind(StrEnum):
    """Which log of a job: what the host did, what the guest printed, or one after the other."""

    HOST = "host"
    GUEST = "guest"
    BOTH = "both"

"""The command line from end to end: errors become one sentence and an exit code."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from jerichoci.errors import PikaciError
from jerichoci.exit_codes import EXIT_CANCELLED, EXIT_INFRASTRUCTURE, EXIT_PASSED, EXIT_USAGE
from pikaci.cli import pikaci
from pikaci.screen import one_line

if TYPE_CHECKING:
    from types import FrameType

    from _typeshed import ReadableBuffer

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SWITCH_SECS = 0.0005
GARBAGE_THRESHOLD = 1_000_000
"""Objects between two collections: more than all that is imported, some tens of megabytes."""


def end_to_end() -> None:
    """Run the command line and exit with the contract's code."""
    # Imported objects are never freed: looking for garbage among them is a tenth of a short run.
    gc.set_threshold(GARBAGE_THRESHOLD)
    # What has ended is heard of while another thread imports: it waits as long for its turn.
    sys.setswitchinterval(SWITCH_SECS)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # not where `nohup` has it ignored
            signal.signal(number, _interrupt)
    sys.unraisablehook = _not_raised
    sys.stdout = sys.stdout or io.TextIOWrapper(io.FileIO(os.devnull, "w"))
    sys.stderr = _stderr()
    code = _run(None)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        sys.stdout.flush()
    # The kernel takes a process down faster than the interpreter takes itself apart.
    os._exit(code)


def _stderr() -> io.TextIOWrapper:
    """stderr, or nothing while a shell completes a command line."""
    is_wanted = not os.environ.get("_PIKACI_COMPLETE", "").endswith("_complete")
    there = sys.stderr if is_wanted else None
    fd = there.fileno() if there else os.open(os.devnull, os.O_WRONLY)
    encoding = there.encoding if there else None
    writer = io.BufferedWriter(_Unread(fd, "w", closefd=False))
    return io.TextIOWrapper(writer, encoding, errors="backslashreplace", line_buffering=True)


class _Unread(io.FileIO):
    """stderr, where writing never fails: a reader that is gone doesn't end the program."""

    def write(self, data: ReadableBuffer) -> int:
        """Write what can be written, and count all of it."""
        with suppress(OSError):
            if count := super().write(data):
                return count
        return memoryview(data).nbytes


def _not_raised(failure: sys.UnraisableHookArgs) -> None:
    """Exit on a Ctrl-C in the middle of an import, where it can't be raised."""
    if isinstance(failure.exc_value, KeyboardInterrupt):
        _say("interrupted")
        os._exit(EXIT_CANCELLED)
    sys.__unraisablehook__(failure)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Exit as on Ctrl-C, so that no child is left; during a run the engine handles signals."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(number, frame)


def run(arguments: list[str]) -> int:
    """Run a command line in a process that lives on; the exit code."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        return _run(arguments)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _run(arguments: list[str] | None) -> int:
    try:
        code = pikaci.main(
            args=arguments, prog_name="pikaci", standalone_mode=False, auto_envvar_prefix="PIKACI"
        )
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - every error becomes a sentence and an exit code
        return _explain(error)
    return code if isinstance(code, int) else EXIT_PASSED


def _explain(error: BaseException) -> int:
    match error:
        case PikaciError():
            _say(str(error))
            code = error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            code = EXIT_USAGE
        case click.UsageError():
            what = error.format_message().rstrip(".")
            more = f"see `{error.ctx.command_path} --help`" if error.ctx else ""
            _say(what + (" " if what.endswith(("?", "?)")) else "; ") + more if more else what)
            code = EXIT_USAGE
        case click.ClickException():
            _say(error.format_message())
            code = EXIT_USAGE
        case click.Abort() | KeyboardInterrupt():
            _say("interrupted", below="\n" if sys.stderr.isatty() else "")
            code = EXIT_CANCELLED
        case BrokenPipeError():
            # The reader of stdout closed it on purpose.
            code = EXIT_PASSED
        case SystemExit(code=int(code)):  # click's own: completion
            pass
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            _say(f"operating system error{where}: {error.strerror or error}")
            code = EXIT_INFRASTRUCTURE
        case _:
            _say(f"internal error in pikaci; the traceback is in {_keep_traceback(error)}")
            code = EXIT_INFRASTRUCTURE
    return code


def _say(sentence: str, below: str = "") -> None:
    sys.stderr.write(f"{below}pikaci: {one_line(sentence)}\n")
    sys.stderr.flush()


def _keep_traceback(error: BaseException) -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="pikaci-", suffix=".log", delete=False) as file:
        file.writelines(traceback.format_exception(error))
    return file.name

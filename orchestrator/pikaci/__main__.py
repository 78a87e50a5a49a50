"""The `pikaci` program: errors become one sentence and an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from jerichoci.errors import (
    EXIT_CANCELLED,
    EXIT_INFRASTRUCTURE,
    EXIT_PASSED,
    EXIT_USAGE,
    PikaciError,
)
from pikaci.cli import pikaci

if TYPE_CHECKING:
    from types import FrameType

GARBAGE_THRESHOLD = 1_000_000
"""Objects between two collections: more than all that is imported, some tens of megabytes."""


def main() -> None:
    """Run the command line and exit with the contract's code."""
    # Importing makes objects that stay: looking for garbage among them is a tenth of a short run.
    gc.set_threshold(GARBAGE_THRESHOLD)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # not where `nohup` has it ignored
            signal.signal(number, _interrupt)
    code = run(None)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):
            stream.flush()
    # The kernel takes a process down faster than the interpreter takes itself apart.
    os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that no child is left; while a run goes on the engine listens."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(number, frame)


def run(arguments: list[str] | None) -> int:
    """Run the command line; the exit code."""
    try:
        code = pikaci.main(
            args=arguments, prog_name="pikaci", standalone_mode=False, auto_envvar_prefix="PIKACI"
        )
        if sys.stdout:  # None if it was closed from the start
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
            command = f"; `{error.ctx.command_path} --help` tells more" if error.ctx else ""
            _say(f"{error.format_message().rstrip('.')}{command}")
            code = EXIT_USAGE
        case click.ClickException():
            _say(error.format_message())
            code = EXIT_USAGE
        case click.Abort() | KeyboardInterrupt():
            _say("interrupted")
            code = EXIT_CANCELLED
        case BrokenPipeError():
            # Whoever read stdout has seen enough.
            code = EXIT_PASSED
        case SystemExit(code=int(code)):  # click's own: completion, a closed pipe
            pass
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            _say(f"the system refused{where}: {error.strerror or error}")
            code = EXIT_INFRASTRUCTURE
        case _:
            _say(f"pikaci itself failed; the traceback is in {_keep_traceback(error)}")
            code = EXIT_INFRASTRUCTURE
    return code


def _say(sentence: str) -> None:
    click.echo(f"pikaci: {sentence}", err=True)


def _keep_traceback(error: BaseException) -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="pikaci-", suffix=".log", delete=False) as file:
        file.writelines(traceback.format_exception(error))
    return file.name


if __name__ == "__main__":
    main()

"""The `pikaci` program: errors become one sentence and an exit code."""

from __future__ import annotations

import os
import sys

import click

from jerichoci.errors import EXIT_CANCELLED, EXIT_INFRASTRUCTURE, EXIT_USAGE, PikaciError
from pikaci.cli import pikaci


def main() -> None:
    """Run the command line and exit with the contract's code."""
    sys.exit(run(None))


def run(arguments: list[str] | None) -> int:
    """Run the command line; the exit code."""
    try:
        code = pikaci.main(
            args=arguments, prog_name="pikaci", standalone_mode=False, auto_envvar_prefix="PIKACI"
        )
        sys.stdout.flush()
    except PikaciError as error:
        _say(str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        return EXIT_CANCELLED
    except BrokenPipeError:
        # Whoever read stdout has seen enough; keep the interpreter from saying so at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        _say(f"the system refused{where}: {error.strerror or error}")
        return EXIT_INFRASTRUCTURE
    except Exception:  # noqa: BLE001 - an error of ours: its traceback goes to a file
        _say(f"pikaci itself failed; the traceback is in {_keep_traceback()}")
        return EXIT_INFRASTRUCTURE
    return code if isinstance(code, int) else 0


def _say(sentence: str) -> None:
    click.echo(f"pikaci: {sentence}", err=True)


def _keep_traceback() -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="pikaci-", suffix=".log", delete=False) as file:
        file.write(traceback.format_exc())
    return file.name


if __name__ == "__main__":
    main()

"""What Nix prints while it evaluates: its errors, and the builds that the evaluation needs."""

from __future__ import annotations

import re
import sys

from jerichoci.errors import CatalogError
from jerichoci.nix import command as nix
from jerichoci.nix.builds import Build, Builds
from jerichoci.nix.log import (
    BUILD_ACTIVITY,
    ERROR_LEVEL,
    WARNING_LEVEL,
    LogLine,
    Message,
    Started,
    parse_line,
)
from pikaci.screen import has_colours, shown

_ADVICE = re.compile(r"Try 'nix.* --help' for more information\.")
_OF_DEPENDENCY = re.compile(r"\bdependenc(?:y|ies)\b.*\bfailed\b")


class EvaluationLog:
    """What Nix printed; what is for people is shown at once."""

    def __init__(self, *, may_build: bool, print_logs: bool) -> None:
        self._may_build = may_build
        self._print_logs = print_logs
        self._builds = Builds()
        self.errors: list[Message] = []
        self.warnings: list[str] = []
        self.has_shown = False
        """Whether anything was shown, such as what `builtins.trace` prints."""

    def take(self, line: bytes) -> None:
        """Take a line of Nix's stderr; a CatalogError if it builds, and must not."""
        event, running = parse_line(line), self._builds.running
        match event:
            case None:
                return
            case Message(level=level, text=text) if level == WARNING_LEVEL:
                self.warnings.append(text)
            case Message(level=level) if level != ERROR_LEVEL or not line.startswith(b"@nix"):
                return
            case Message(text=text, raw=raw) if raw != text or text.startswith("error:"):
                self.errors.append(event)
            case Message(text=text) if not _ADVICE.fullmatch(text):  # builtins.trace
                self._show(text)
            case Started(type=kind, subject=subject) if kind == BUILD_ACTIVITY:
                if not self._may_build:  # a daemon would
                    raise needs_built(subject)
                self._show(f"pikaci: building {name_of(subject)}, which the evaluation needs")
            case LogLine(id=number, text=text) if self._print_logs and number in running:
                _show_line(running[number], text)
        self._builds.note(event)

    def _show(self, text: str) -> None:
        self.has_shown = True
        show(text)

    @property
    def reason(self) -> Message | None:
        """Nix's last error that says more than that a dependency failed."""
        telling = [each for each in self.errors if not _OF_DEPENDENCY.search(each.reason)]
        return [*self.errors[-1:], *telling][-1] if self.errors else None

    async def broken(self) -> Build | None:
        """The build that failed."""
        for build in sorted(self._builds.over, key=lambda build: not build.is_counted):
            outputs = await nix.outputs(build.drv)
            is_named = build.take_errors(self.errors, outputs)
            if (is_named or build.is_counted) and await nix.invalid(outputs):
                return build
        return None

    def show_end(self, build: Build) -> None:
        """Show the last lines of a builder that were not shown yet."""
        for line in () if self._print_logs else build.tail:
            _show_line(build, line)


def needs_built(path: str, why: str = "") -> CatalogError:
    """The error of an evaluation that reads what is not built yet."""
    return CatalogError(
        f"the evaluation needs {name_of(path)} built first{why}",
        "`pikaci plan TARGET --build` builds it",
    )


def name_of(path: str) -> str:
    """The name of a store path or a derivation."""
    return path.rpartition("/")[2].partition("-")[2].removesuffix(".drv")


def show(text: str) -> None:
    """Print lines for people."""
    for line in text.splitlines():
        sys.stderr.write(f"{shown(line, colours=has_colours(sys.stderr))}\n")
    sys.stderr.flush()


def _show_line(build: Build, line: str) -> None:
    show(f"{name_of(build.drv)}> {line}")

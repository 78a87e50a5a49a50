"""Manual pages of the programs and of each of their commands, made from what --help says.

hatchling runs this when it builds a wheel, which has the pages in share/man/man1. They need click
and the sources only, since commands import what is heavy where they use it. By hand:
`python packaging/man_pages.py DIRECTORY`.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {
    "pikaci": ("pikaci.cli", "run CI targets that are defined in Nix"),
    "pika-git": ("pika_git.cli", "turn pushes into verdicts"),
    "ph": ("ph.cli", "ask a forge about branches and lanes"),
}
"""Where each program's commands are, and what it does."""


class ManPages(BuildHookInterface[Any]):
    """Puts the pages into a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the pages, except for an installation in place."""
        if version == "editable":
            return
        self.made = Path(tempfile.mkdtemp())
        for page in write_pages(self.made, self.metadata.version):
            build_data["shared_data"][str(page)] = f"share/man/man1/{page.name}"

    def finalize(self, version: str, *_rest: object) -> None:
        """Remove what was written."""
        if version != "editable":
            shutil.rmtree(self.made)


def write_pages(directory: Path, version: str) -> Iterator[Path]:
    """Write the pages of the programs whose sources are there; their paths."""
    sys.path.insert(0, str(ROOT / "orchestrator"))
    for program, (module, what) in PROGRAMS.items():
        if not (ROOT / "orchestrator" / module.partition(".")[0]).is_dir():
            continue
        found = vars(import_module(module)).values()
        (group,) = (value for value in found if isinstance(value, click.Group))
        context = click.Context(group, info_name=program, **group.context_settings)
        for page in _pages(context, what, ()):
            path = directory / f"{page.name}.1"
            path.write_text(page.text(version), encoding="utf-8")
            yield path


class Page:
    """The page of a command."""

    def __init__(self, context: click.Context, what: str, related: Sequence[str]) -> None:
        self.context = context
        self.command = context.command
        self.name = _page_name(context)
        self.what = what
        self.related = related

    def text(self, version: str) -> str:
        """In the language of man(7)."""
        usage = " ".join(self.command.collect_usage_pieces(self.context))
        lines = [
            f'.TH "{self.name.upper()}" "1" "" "pikaci {version}" "User Commands"',
            *(".ad l", ".SH NAME", rf"{_plain(self.name)} \- {_plain(self.what)}"),
            *(".SH SYNOPSIS", f".B {_plain(self.context.command_path)}", _plain(usage)),
            *(".SH DESCRIPTION", *_paragraphs(self.command.help or "")),
            *(".SH OPTIONS", *self._options()),
        ]
        if subcommands := list(_subcommands(self.context)):
            lines.append(".SH COMMANDS")
            for below, what in subcommands:
                lines += [".TP", f".BR {_plain(_page_name(below))} (1)", _plain(what)]
        if self.command.epilog:
            lines += [".SH NOTES", *_paragraphs(self.command.epilog)]
        if self.related:
            shown = [f".BR {_plain(name)} (1)" for name in self.related]
            lines += [".SH SEE ALSO", *(f"{line}," for line in shown[:-1]), shown[-1]]
        return "\n".join(lines) + "\n"

    def _options(self) -> Iterator[str]:
        for param in self.command.get_params(self.context):
            record = param.get_help_record(self.context)
            if record and isinstance(param, click.Option):
                names, what = record
                yield from (".TP", f".B {_plain(names)}", _plain(" ".join(what.split())))


def _pages(context: click.Context, what: str, related: Sequence[str]) -> Iterator[Page]:
    """The page of a command, and those of the commands below it."""
    yield Page(context, what, related)
    for below, short in _subcommands(context):
        yield from _pages(below, short, [_page_name(context)])


def _subcommands(context: click.Context) -> Iterator[tuple[click.Context, str]]:
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command and not command.hidden:
            settings = command.context_settings
            below = click.Context(command, parent=context, info_name=name, **settings)
            yield below, command.get_short_help_str(limit=200).rstrip(".")


def _page_name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _paragraphs(text: str) -> Iterator[str]:
    """A help text: paragraphs, of which those that begin with a backspace keep their lines."""
    for index, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if index:
            yield ".PP"
        first, *rest = [line.strip() for line in paragraph.splitlines()]
        if first == "\b":
            yield from (".nf", *map(_plain, rest), ".fi")
        else:
            yield _plain(" ".join((first, *rest)))


def _plain(text: str) -> str:
    """A text that man(7) shows as it is."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    list(write_pages(Path(sys.argv[1]), declared["project"]["version"]))

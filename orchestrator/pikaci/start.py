"""The files with which a repository starts: a flake, a catalog with a target, and lanes.

A file that is there stays as it is, whatever it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.snapshot.git import find_top
from jerichoci.state.dataclass import dataclass
from pikaci.languages import check_of, languages_of
from pikaci.own_flake import FlakeUrl, directory_url, template
from pikaci.python_packages import python_packages

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAKE = "flake.nix"
CHECK = "ci/check.nix"
_FILES = (FLAKE, "ci/default.nix", CHECK, "ci/forge-lanes.toml")
_PLACEHOLDER = "git+https://example.org/pikaci"
_URL = re.compile(r"[a-z][a-z0-9+.-]*:[^\s\"\\$#]+")
_INPUT = re.compile(r"^  inputs\.pikaci\.url = .*\n", re.MULTILINE)
_OUTPUTS = re.compile(r"^      inherit \(pikaci\) apps;\n.*^      };\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Started:
    """What was written and what was there, by path."""

    written: Sequence[str]
    kept: Sequence[str]


def given_url(text: str) -> FlakeUrl:
    """The URL of a flake, given as such or as a directory."""
    if text and (place := Path(text).expanduser()).is_dir():
        if not (place / FLAKE).is_file():
            raise UsageError(f"there is no flake.nix in {text}", "give a checkout of pikaci")
        return directory_url(place)
    if not _URL.fullmatch(text):
        raise UsageError(
            f"--pikaci-url {text!r} is neither a directory nor the URL of a flake,"
            " such as git+https://HOST/pikaci"
        )
    return FlakeUrl(text, elsewhere=not text.startswith(("path:", "git+file:", "file:")))


def find_language(directory: Path) -> str | None:
    """The language of a project, None if its files don't tell."""
    found = languages_of(directory)
    if len(found) > 1:
        raise UsageError(
            f"this project has files of {', '.join(found[:-1])} and {found[-1]}",
            f"name the one to begin with: `pikaci init {found[0]}`",
        )
    return found[0] if found else None


def start(directory: Path, language: str | None, url: FlakeUrl) -> Started:
    """Write the files that are not there."""
    _check_place(directory)
    texts = {name: _text(name, url) for name in _FILES}
    if language:
        texts[CHECK] = _check_text(directory, language)
    written, kept = [], []
    for name, text in texts.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            kept.append(name)
        else:
            written.append(name)
    return Started(written, kept)


def lines_to_add(url: FlakeUrl) -> str:
    """What a flake needs besides what it has, as Nix."""
    text = _text(FLAKE, url)
    given, outputs = _INPUT.search(text), _OUTPUTS.search(text)
    assert given is not None, "the template has no input"  # noqa: S101 - a fault of this project
    assert outputs is not None, "the template has no outputs"  # noqa: S101 - likewise
    return (
        f"{given[0]}"
        '  inputs.pikaci.inputs.nixpkgs.follows = "nixpkgs"; # if you have such an input\n\n'
        f"      # among the outputs, which have `nixpkgs` and `pikaci` as arguments:\n{outputs[0]}"
    )


def _check_place(directory: Path) -> None:
    """Refuse a directory below the repository's flake, and a `ci` that is no directory."""
    top = find_top(directory)
    above = (place for place in directory.parents if place.is_relative_to(top))
    if not (directory / FLAKE).exists() and any((place / FLAKE).is_file() for place in above):
        flake = next(place for place in directory.parents if (place / FLAKE).is_file())
        raise UsageError(f"the flake of this repository is in {flake}", "run `pikaci init` there")
    ci = directory / "ci"
    if (ci.exists() or ci.is_symlink()) and not ci.is_dir():
        raise UsageError(f"{ci} is not a directory", "the targets belong there")


def _text(name: str, url: FlakeUrl) -> str:
    """A file of the template."""
    text = (template() / "template" / name).read_text(encoding="utf-8")
    return text.replace(_PLACEHOLDER, url.text)


def _check_text(directory: Path, language: str) -> str:
    """The check that suits a project in a language."""
    path = template() / "template-checks" / f"{check_of(directory, language)}.nix"
    text = path.read_text(encoding="utf-8")
    names = ["pytest", *python_packages(directory)] if language == "python" else []
    listed = "".join(f"    packages.{name}\n" for name in dict.fromkeys(names))
    return text.replace("    packages.pytest\n", listed) if listed else text

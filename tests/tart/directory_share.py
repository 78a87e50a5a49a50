"""Directories that a VM shares with its host: what `--dir` says."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tart.failure import NOT_MADE, Failure, wrong

AUTOMOUNT_TAG = "com.apple.virtio-fs.automount"
NAME_BYTES = 255


@dataclass(frozen=True)
class DirectoryShare:
    name: str | None
    path: Path
    read_only: bool
    tag: str


def parse_share(text: str) -> DirectoryShare:
    """Read `[name:]path[:options]`; empty parts between colons vanish."""
    parts = _parts(text, ":")
    read_only, tag, found = False, AUTOMOUNT_TAG, False
    for option in _parts(parts[-1], ","):
        if option == "ro":
            read_only = found = True
        elif option.startswith("tag="):
            tag, found = option.removeprefix("tag="), True
    if found:
        # All of the last part, whatever else it says.
        parts.pop()
    if not parts:
        _crash()
    # The colons of the path are kept.
    name, path = (parts[0], ":".join(parts[1:])) if len(parts) > 1 else (None, parts[0])
    return DirectoryShare(name, Path(path).expanduser().absolute(), read_only, tag)


def checked(shares: list[DirectoryShare]) -> list[DirectoryShare]:
    """The shares as a VM can have them: of those with one name the last."""
    for share in shares:
        if share.name is None and len(shares) > 1:
            message = "for multiple directory shares each one of them should be named"
            raise wrong(f"invalid --dir syntax: {message}")
        if share.name is None or share.tag != AUTOMOUNT_TAG:
            raise Failure("the fake has no shares without a name, or with another tag", NOT_MADE)
        if share.name in {".", ".."} or "/" in share.name:
            raise _invalid(f"the name {share.name!r} is invalid")
        if len(share.name.encode()) > NAME_BYTES:
            raise _invalid("a name is too long")
        if not share.path.is_dir():
            raise _invalid(f"{share.path} is no directory")
    return list({share.name: share for share in shares}.values())


def _parts(text: str, separator: str) -> list[str]:
    parts = [part for part in text.split(separator) if part]
    if not parts:
        _crash()
    return parts


def _crash() -> None:
    # As Swift does at the last element of an empty array.
    signal.signal(signal.SIGTRAP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTRAP)


def _invalid(why: str) -> Failure:
    message = f"A directory sharing device configuration is invalid ({why})."
    return Failure(f'Error Domain=VZErrorDomain Code=2 "{message}"')

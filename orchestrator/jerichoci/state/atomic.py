"""Files written whole or not at all: temp file beside the target, fsync, rename."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from jerichoci.state.trace import span

if TYPE_CHECKING:
    from pathlib import Path

TEMP_MARK = ".tmp-"
"""In the name of every file that a crash may leave half-written; readers pass such names over.

The pid of its writer follows.
"""


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace `path` by a file with `data`, mode 0600; readers see the old one or the new one.

    So they do after a power failure, too, unless it is not `durable`, which needs no wait for the
    disk: then it may be empty.
    """
    with span(f"write {path.name}", "record", bytes=len(data)):
        _replace(path, data, durable=durable)


def _replace(path: Path, data: bytes, *, durable: bool) -> None:
    temp = path.with_name(f"{path.name}{TEMP_MARK}{os.getpid()}-{os.urandom(4).hex()}")
    try:
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        temp.rename(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def write_json(path: Path, values: object) -> None:
    """Replace `path` by `values` as JSON, indented for people."""
    text = json.dumps(values, indent=1, ensure_ascii=False)
    write_bytes(path, text.encode("utf-8", "surrogateescape") + b"\n")

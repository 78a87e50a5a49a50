"""The hook of a repository, and the socket that hears it.

- It is a post-receive hook: before that the new objects are in quarantine.
- What it says is a hint: who pushed. The refs are the truth, and are polled without it, too.
- It knows no secret. The socket says which user wrote to it; what the hook says of a pusher beyond
  that (a name that a web server or gitolite gave) is shown with that user.
- It makes no pusher wait: it tells in the background, within a second or not at all, with no stream
  of the pusher's open. A hook that was there before runs as ever, with its own input and streams.
"""

from __future__ import annotations

import logging
import os
import pwd
import selectors
import shlex
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from pika_git.git import GitError
from pika_git.persistence.wakes import near

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pika_git.git import Repository

    Tell = Callable[[str, dict[tuple[str, str], str | None]], None]

MARK = "# post-receive of pika-git"
CHAINED = "post-receive.before-pika-git"
MOST_BYTES = 1024 * 1024
CLIENT_SECS = 1.0
"""A hook that hangs is not waited for: it writes at once, and the poll sees the push anyway."""
MOST_NAME = 100
log = logging.getLogger("pika_git")

SCRIPT = """#!/bin/sh
{mark}: tells the forge of a push, in the background.
# It runs {chained} beside it, if there is one. Remove this file to be rid of it.
input=$(cat; echo .)
(
  unset $(git rev-parse --local-env-vars)
  python=$(command -v python3 || echo {python})
  printf '%s' "${{input%.}}" | "$python" -I -S -c '
import os, socket, sys
names = ("GL_USER", "REMOTE_USER", "GIT_PUSHER")
name = next((os.environ[each] for each in names if os.environ.get(each)), "")
says = b"\\n".join((os.fsencode(os.getcwd()), os.fsencode(name), sys.stdin.buffer.read({most})))
os.chdir(sys.argv[1])
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout({secs})
    client.connect(sys.argv[2])
    client.sendall(says)
' {directory} {name}
) </dev/null >/dev/null 2>&1 &
if [ -x "${{0%/*}}/{chained}" ]; then
  printf '%s' "${{input%.}}" | "${{0%/*}}/{chained}" "$@"
fi
"""


@dataclass
class Pushes:
    """Hears hooks at a socket, in a thread of its own, and tells what each said.

    `tell` takes the repository's directory, and who pushed by ref and new commit (deleted: "").
    """

    path: Path
    tell: Tell
    _stop: tuple[int, int] = field(default_factory=os.pipe)

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        with near(self.path.parent) as directory:
            self._socket.bind(str(directory / self.path.name))
        self.path.chmod(0o666)
        self._socket.listen(128)
        self._socket.settimeout(0)
        self._thread = threading.Thread(target=self._run, name="hooks")
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        os.write(self._stop[1], b".")
        self._thread.join()
        self._socket.close()
        self.path.unlink(missing_ok=True)
        for end in self._stop:
            os.close(end)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for source in (self._socket, self._stop[0]):
                selector.register(source, selectors.EVENT_READ)
            while not any(key.fileobj == self._stop[0] for key, _ in selector.select()):
                try:
                    self._hear()
                except BlockingIOError:  # the client is gone already
                    continue
                except Exception:  # the poll sees the push without it
                    log.exception("a hook was not heard")

    def _hear(self) -> None:
        client, _ = self._socket.accept()
        with client:
            said = _read(client)
            user = _user(client)
        repository, name, *lines = said.split(b"\n")
        claimed = _printable(name)
        by = f"{claimed} (as {user})" if user and claimed not in {"", user} else claimed or user
        pushers = dict(filter(None, (_pushed(line, by) for line in lines)))
        self.tell(os.fsdecode(repository), pushers)


def _read(client: socket.socket) -> bytes:
    until, data = time.monotonic() + CLIENT_SECS, b""
    while len(data) < MOST_BYTES:
        client.settimeout(max(0.001, until - time.monotonic()))
        more = client.recv(65536)
        if not more:
            break
        data += more
    return data


def _pushed(line: bytes, by: str) -> tuple[tuple[str, str], str | None] | None:
    """A line of a hook's input: OLD NEW REF."""
    try:
        _, new, ref = line.decode().split(" ", 2)
    except ValueError:
        return None
    return (ref, "" if not new.strip("0") else new), by or None


def _printable(name: bytes) -> str:
    text = name.decode("utf-8", "replace")[:MOST_NAME]
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _user(client: socket.socket) -> str:
    """The user at the other end; "" where the system doesn't say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return ""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def script(hook_socket: Path) -> str:
    """The hook's text; it is the same for every repository."""
    return SCRIPT.format(
        mark=MARK,
        chained=CHAINED,
        python=shlex.quote(sys.executable),
        most=MOST_BYTES // 2,
        secs=CLIENT_SECS,
        directory=shlex.quote(str(hook_socket.parent)),
        name=shlex.quote(hook_socket.name),
    )


def install(repository: Repository, hook_socket: Path) -> Path:
    """Install the hook, before one that is there already; again, it changes nothing.

    Raises:
        GitError: git doesn't accept the repository, or the hook can't be written.
    """
    found = repository.out("rev-parse", "--git-path", "hooks/post-receive")
    path = repository.path / found
    text = script(hook_socket)
    try:
        _put(path, text)
    except OSError as error:
        raise GitError(f"could not install the hook {path}: {error.strerror}") from error
    return path


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        before = path.read_text("utf-8", "replace") if path.is_file() else ""
        if before == text and os.access(path, os.X_OK):
            return
        if MARK not in before:
            chained = path.with_name(CHAINED)
            if os.path.lexists(chained):
                raise GitError(f"{path} and {chained} are both another's: join them, or remove one")
            path.rename(chained)
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    whole.write_text(text)
    whole.chmod(0o755)
    whole.replace(path)

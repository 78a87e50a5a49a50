"""The hook of a repository: it tells the service who pushed, and never makes a pusher wait.

It is a post-receive hook: before that the new objects are in quarantine. It knows no secret: the
socket says which user wrote to it. What it says is a hint; the refs are the truth.
"""

from __future__ import annotations

import os
import pwd
import shlex
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from pika_git.git import Repository

MARK = "# post-receive of pika-git"
CHAINED = "post-receive.before-pika-git"
MOST_BYTES = 256 * 1024
CLIENT_SECS = 0.5
"""A hook that hangs is not waited for: it writes at once, and the poll sees the push anyway."""

SCRIPT = """#!/bin/sh
{mark}: tells the forge of a push, in the background, and then runs what was here before.
input=$(cat)
unset $(git rev-parse --local-env-vars)
printf '%s\\n' "$input" | timeout 2 python3 -I -S -c '
import os, socket, sys
names = ("GL_USER", "REMOTE_USER", "SSH_USER", "GIT_PUSHER", "USER", "LOGNAME")
pusher = next((os.environ[name] for name in names if os.environ.get(name)), "")
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(1)
    client.connect(sys.argv[1])
    client.sendall((sys.argv[2] + "\\n" + pusher + "\\n" + sys.stdin.read())[:{most}].encode())
' {socket} {repository} >/dev/null 2>&1 </dev/null &
chained={chained}
if [ -x "$chained" ]; then
  printf '%s\\n' "$input" | "$chained"
fi
"""


@dataclass
class Pushes:
    """Hears hooks at a socket, and keeps who pushed what until it is asked."""

    path: Path
    _pushers: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        self._socket.bind(str(self.path))
        self.path.chmod(0o666)
        self._socket.listen(64)
        self._socket.settimeout(0)
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def fileno(self) -> int:
        """What to wait for."""
        return self._socket.fileno()

    def hear(self) -> list[str]:
        """Take what hooks said; the repositories that were pushed to, by their directories."""
        found = []
        with suppress(BlockingIOError):
            while True:
                client, _ = self._socket.accept()
                with client, suppress(OSError, ValueError):
                    found.append(self._take(client))
        return found

    def pushers(self, repository: str) -> dict[tuple[str, str], str]:
        """Who pushed to a repository since this was asked, by ref and new commit."""
        return self._pushers.pop(repository, {})

    def _take(self, client: socket.socket) -> str:
        client.settimeout(CLIENT_SECS)
        data = b""
        while len(data) < MOST_BYTES and (more := client.recv(65536)):
            data += more
        repository, pusher, *lines = data.decode("utf-8", "replace").splitlines()
        known = self._pushers.setdefault(repository, {})
        by = "".join(letter for letter in pusher[:100] if letter.isprintable()) or _user(client)
        for line in lines:
            _, new, ref = line.split(" ", 2)
            known[ref, "" if set(new) == {"0"} else new] = by
        return repository


def _user(client: socket.socket) -> str:
    """The user at the other end."""
    if not hasattr(socket, "SO_PEERCRED"):
        return ""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def install(repository: Repository, hook_socket: Path) -> Path:
    """Install the hook, before one that is there already; again, it changes nothing.

    Raises:
        GitError: git doesn't accept the repository.
        OSError: the hook can't be written.
    """
    found = repository.out("rev-parse", "--git-path", "hooks/post-receive")
    path = repository.path / found
    path.parent.mkdir(parents=True, exist_ok=True)
    chained = path.with_name(CHAINED)
    if path.exists() and MARK not in path.read_text("utf-8", "replace"):
        path.rename(chained)
    text = SCRIPT.format(
        mark=MARK,
        most=MOST_BYTES,
        socket=shlex.quote(str(hook_socket)),
        repository=shlex.quote(str(repository.path)),
        chained=shlex.quote(str(chained)),
    )
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    whole.write_text(text)
    whole.chmod(0o755)
    whole.replace(path)
    return path

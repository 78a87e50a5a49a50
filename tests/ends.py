"""How commands end, and what is to be said of each end: one table for hosts and for guests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class End:
    """A command; its exit code as records have it, the signal that ended it, what is said."""

    command: str
    exit_code: int
    words: str
    signal: int | None = None


ENDS = (
    End("exit 1", 1, "exited with 1"),
    End("exit 121", 121, "exited with 121"),
    End("exit 125", 125, "exited with 125"),
    End("no-such-program-anywhere", 127, "exited with 127"),
    End("exit 128", 128, "exited with 128"),
    End("exit 255", 255, "exited with 255"),
    End("exit 137", 137, "exited with 137 (128 + 9: SIGKILL)"),
    End("bash -c 'kill -SEGV $$'; exit $?", 139, "exited with 139 (128 + 11: SIGSEGV)"),
    End("set -o pipefail; sh -c 'kill -ABRT $$' | cat", 134, "exited with 134 (128 + 6: SIGABRT)"),
    End("trap 'exit 130' INT; kill -INT $$", 130, "exited with 130 (128 + 2: SIGINT)"),
    End("kill -SEGV $$", 139, "was killed by SIGSEGV", 11),
    End("exec sh -c 'kill -ABRT $$'", 134, "was killed by SIGABRT", 6),
    End("kill -KILL $$", 137, "was killed by SIGKILL", 9),
    End("kill -TERM $$", 143, "was killed by SIGTERM", 15),
    End("kill -PIPE $$", 141, "was killed by SIGPIPE", 13),
    End("kill -HUP $$; sleep 60", 129, "was killed by SIGHUP", 1),
    End("kill -40 $$", 168, "was killed by signal 40", 40),
)

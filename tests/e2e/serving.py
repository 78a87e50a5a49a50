"""A `pikaci serve` as a program has it: requests a line each, answers a line each."""

from __future__ import annotations

import json
import os
import select
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from e2e.project import DEADLINE_SECS, Json, Project

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Server:
    """A server and its pipes."""

    project: Project
    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    answers: IO[bytes]
    _read: bytes = b""

    def send(self, line: bytes) -> None:
        self.requests.write(line)
        self.requests.flush()

    def ask(self, *argv: str, **changes: Any) -> str:  # noqa: ANN401 - any JSON
        """Send a request to run a command line; its id."""
        request = {
            "id": f"{len(argv)} {argv[-1]}",
            "argv": argv,
            "cwd": str(self.project.root),
            "env": self.project.env(),
            "stdout": str(self.project.state.with_name("stdout")),
            "stderr": str(self.project.state.with_name("stderr")),
            **changes,
        }
        self.send(json.dumps(request).encode() + b"\n")
        return str(request["id"])

    def hear(self) -> Json:
        """The next answer."""
        while b"\n" not in self._read:
            ready, _, _ = select.select([self.answers], [], [], DEADLINE_SECS)
            assert ready, f"no answer within {DEADLINE_SECS} s"
            data = os.read(self.answers.fileno(), 65536)
            assert data, "the server has ended"
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        answer: Json = json.loads(line)
        return answer

    def start(self, *argv: str, **changes: Any) -> int:  # noqa: ANN401 - any JSON
        """Have a command line run; its pid."""
        asked = self.ask(*argv, **changes)
        answer = self.hear()
        assert answer["id"] == asked, answer
        pid: int = answer["pid"]
        return pid

    def do(self, *argv: str, **changes: Any) -> Json:  # noqa: ANN401 - any JSON
        """Have a command line run to its end; what is told of that."""
        self.start(*argv, **changes)
        return {key: value for key, value in self.hear().items() if key != "id"}

    def said(self, name: str = "stderr") -> str:
        """What the children have printed."""
        return self.project.state.with_name(name).read_text()


@contextmanager
def serving(project: Project, **options: Any) -> Iterator[Server]:  # noqa: ANN401 - as Popen has them
    """Start a server; `project` is where its requests are run."""
    process = subprocess.Popen(
        project.argv("serve"),
        cwd="/",
        env=options.pop("env", project.env()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **options,
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError
    with process:
        try:
            yield Server(project, process, process.stdin, process.stdout)
        finally:
            process.kill()

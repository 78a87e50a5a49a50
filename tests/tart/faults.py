"""What goes wrong: entries of `$TART_HOME/faults.json`, which are used up one after the other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from typing import TYPE_CHECKING, Literal

from tart.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL_SECS = 0.02
Step = Literal["clone", "set", "run", "exec", "stop", "delete", "list", "get", "boot"]
Kind = Literal["fail", "fail_after", "hang", "late", "crash", "lose_agent", "deaf", "limit"]


class Fault:
    """What goes wrong with a step: a subcommand, or `boot`, which every `run` comes to.

    fail: it ends with the code, and nothing was done. fail_after: likewise, and it was done.
    hang: it never ends. late: it begins after `secs`.
    Of `boot`: late: the guest agent answers only after `secs`. crash: the VM stops with an error
    after `secs`. lose_agent: the guest agent ends after `secs`, for good. deaf: `tart run` doesn't
    end at SIGINT. limit: there are as many VMs as there may be, none of which are Tart's.

    It goes well `skip` times before, and wrong `times` times (None: always), with command lines in
    which the regular expression `matching` is found.
    """

    def __init__(
        self,
        step: Step,
        kind: Kind = "fail",
        *,
        code: int = 1,
        message: str = "it was told to fail",
        secs: float = 0.0,
        times: int | None = 1,
        skip: int = 0,
        matching: str = "",
    ) -> None:
        self.step = step
        self.kind = kind
        self.code = code
        self.message = message
        self.secs = secs
        self.times = times
        self.skip = skip
        self.matching = matching


class Faults:
    def __init__(self, home: Path) -> None:
        self.path = home / "faults.json"

    def add(self, fault: Fault) -> None:
        with self._locked() as faults:
            faults.append(fault)

    def clear(self) -> None:
        """From now on all goes well; what hangs goes on."""
        with self._locked() as faults:
            faults.clear()

    def take(self, step: str, line: str) -> list[Fault]:
        """Those that happen to a command line, each one time less from now on."""
        if not self.path.exists():
            return []
        taken = []
        with self._locked() as faults:
            for fault in faults:
                if fault.step != step or not re.search(fault.matching, line):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                elif fault.times != 0:
                    fault.times = None if fault.times is None else fault.times - 1
                    taken.append(fault)
                    if fault.kind in {"fail", "fail_after", "hang"}:
                        break
        return taken

    @contextlib.contextmanager
    def happening(self, step: str, line: str) -> Iterator[None]:
        """Have what is said in `with` go as it is told."""
        faults = self.take(step, line)
        for fault in faults:
            if fault.kind == "late":
                time.sleep(fault.secs)
            elif fault.kind == "hang":
                self._hang()
            elif fault.kind == "fail":
                raise Failure(fault.message, fault.code)
        yield
        for fault in faults:
            if fault.kind == "fail_after":
                raise Failure(fault.message, fault.code)

    def _hang(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            while json.loads(self.path.read_text()):
                time.sleep(POLL_SECS)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[list[Fault]]:
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = json.loads(self.path.read_text()) if self.path.exists() else []
            faults = [Fault(**entry) for entry in entries]
            yield faults
            written = self.path.with_suffix(".new")
            written.write_text(json.dumps([vars(fault) for fault in faults]))
            os.replace(written, self.path)  # noqa: PTH105 - as atomic, and said so

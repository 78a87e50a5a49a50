"""A floor and pikaci, timed in turn, so that what else the machine does meets both alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Task = Callable[[], object]

ROOT = Path(__file__).resolve().parent.parent
PIKACI = str(Path(sys.executable).with_name("pikaci"))
COLUMNS = ("work", "floor", "floor, ms", "pikaci, ms", "pikaci against floor", "target", "met")
ROUNDS = 21
SLOW_ROUNDS = 5


@dataclass(frozen=True)
class Command:
    """A command line as something to time: what it prints goes nowhere, and it has to succeed."""

    argv: Sequence[str]
    cwd: Path | None = None
    env: Mapping[str, str] | None = None

    def __call__(self) -> None:
        """Run it to its end."""
        subprocess.run(
            self.argv,
            cwd=self.cwd,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    def _environment(self) -> dict[str, str]:
        """As after an installation: with bytecode for pikaci as there is for what it imports."""
        given = dict(os.environ if self.env is None else self.env)
        given.pop("PYTHONDONTWRITEBYTECODE", None)
        return given


@dataclass(frozen=True)
class Pair:
    """The medians of both, and the median of what one round of pikaci cost over its floor's."""

    floor_ms: float
    subject_ms: float

    @property
    def ratio(self) -> float:
        """How many times the floor."""
        return self.subject_ms / self.floor_ms

    @property
    def extra_ms(self) -> float:
        """How much more than the floor."""
        return self.subject_ms - self.floor_ms


def pair(floor: Task, subject: Task, rounds: int = ROUNDS) -> Pair:
    """Time both alternately, after one round that doesn't count."""
    floor()
    subject()
    floors, subjects = [], []
    for _ in range(rounds):
        floors.append(milliseconds(floor))
        subjects.append(milliseconds(subject))
    return Pair(statistics.median(floors), statistics.median(subjects))


def milliseconds(task: Task) -> float:
    """Do it and say how long it took."""
    start = time.perf_counter()
    task()
    return (time.perf_counter() - start) * 1000


def at_most_times(work: str, floor: str, measured: Pair, limit: float) -> str:
    """The row of a ratio."""
    return _row(
        work, floor, measured, f"{measured.ratio:.2f} x", f"{limit:g} x", measured.ratio <= limit
    )


def at_most_more(work: str, floor: str, measured: Pair, limit_ms: float) -> str:
    """The row of a difference."""
    met = measured.extra_ms <= limit_ms
    return _row(work, floor, measured, f"{measured.extra_ms:+.0f} ms", f"+{limit_ms:g} ms", met)


def _row(work: str, floor: str, measured: Pair, found: str, target: str, met: bool) -> str:  # noqa: FBT001, PLR0913, PLR0917 - the cells of a row
    cells = (work, floor, _figure(measured.floor_ms), _figure(measured.subject_ms), found, target)
    return line((*cells, yes(met=met)))


def yes(*, met: bool) -> str:
    """Whether a target is met."""
    return "yes" if met else "**no**"


def line(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _figure(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:.0f}"  # noqa: PLR2004 - three digits


@contextmanager
def workshop() -> Iterator[Path]:
    """A directory on the disk that state roots are usually on, not on a tmpfs."""
    with tempfile.TemporaryDirectory(prefix="pikaci-bench-", dir="/var/tmp") as name:
        yield Path(name)

"""Today's build against that of an older commit, in turn: `python bench/against.py REV`."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation_cost import repository
from fixtures import checkout
from many_jobs import FLAKE, system
from paired import ROOT, ROUNDS, SLOW_ROUNDS, Command, at_most_times, line, pair, workshop, yes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from paired import Task

STARTING = "import sys; sys.path.insert(0, {!r}); from pikaci.__main__ import main; main()"
CPU_LIMIT = 0.5


def main() -> None:
    """Print the rows."""
    rev = sys.argv[1]
    with workshop() as place, older_build(rev, place / "older") as older:
        tree = checkout(place / "tree")
        hello = [["run", "hello", "--state-root", str(place / name)] for name in ("then", "now")]
        then, now = in_turn(older, hello, tree)
        print(at_most_times(f"`pikaci run hello`, of {rev}", rev, pair(then, now), 1), flush=True)
        for name, used in (("user CPU", user_ms), ("CPU", cpu_ms)):
            floor, found = measured(then, now, used)
            work, ratio = f"{name} of `pikaci run hello`, of {rev}", found / floor
            cells = (work, rev, f"{floor:.0f}", f"{found:.0f}", f"{ratio:.2f} x")
            limit = (
                (f"{CPU_LIMIT:g} x", yes(met=ratio <= CPU_LIMIT)) if used is user_ms else ("", "")
            )
            print(line((*cells, *limit)), flush=True)
        many = repository(place / "many", {"flake.nix": FLAKE.replace("@", system())})
        jobs = [["run", "many-200", "--state-root", str(place / name)] for name in ("then", "now")]
        measured_jobs = pair(*in_turn(older, jobs, many), SLOW_ROUNDS)
        print(at_most_times(f"one run of 200 jobs of `true`, of {rev}", rev, measured_jobs, 1))


@contextmanager
def older_build(rev: str, place: Path) -> Iterator[Path]:
    """The sources of a commit, in a work tree of their own."""
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", place, rev], check=True)
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", place], check=True)


def in_turn(older: Path, arguments: Sequence[Sequence[str]], cwd: Path) -> tuple[Command, Command]:
    """The command line of the older build and that of today's, started in the same way."""
    then, now = (
        Command([sys.executable, "-c", STARTING.format(str(tree / "orchestrator")), *argv], cwd=cwd)
        for tree, argv in zip((older, Path(ROOT)), arguments, strict=True)
    )
    return then, now


def measured(then: Task, now: Task, used: Callable[[], float]) -> tuple[float, float]:
    """The medians of what both use."""
    found: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for task, times in zip((then, now), found, strict=True):
            before = used()
            task()
            times.append(used() - before)
    return statistics.median(found[0]), statistics.median(found[1])


def user_ms() -> float:
    """The user's CPU time of all children so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime * 1000


def cpu_ms() -> float:
    """All CPU time of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


if __name__ == "__main__":
    main()

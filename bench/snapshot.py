"""How long a snapshot of 50,000 files takes with one changed, and its copy, against git and cp."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from paired import SLOW_ROUNDS, Command, at_most_times, pair, workshop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "orchestrator"))

from jerichoci.snapshot.materialise import materialise
from jerichoci.snapshot.snapshot import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = 50_000
FILES_A_DIRECTORY = 20
ROUNDS = 11
GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost")


def many_files(into: Path) -> Path:
    """A committed work tree of `FILES` small files."""
    for number in range(FILES):
        group = number // FILES_A_DIRECTORY
        path = into / f"src/{group // 50:03}/{group % 50:02}/{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}\n" * (1 + number % 40))
    (into / ".gitignore").write_text("build/\n*.o\n")
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "-m", "all")):
        subprocess.run([*GIT, *command], cwd=into, check=True)
    return into


def main() -> None:
    """Print the rows."""
    with workshop() as place:
        tree, state = many_files(place / "tree"), place / "state"
        numbers = count()

        def change() -> None:
            (tree / "src/000/00/00000.txt").write_text(f"change {next(numbers)}\n")

        def snapshot() -> str:
            return asyncio.run(take_snapshot(state, tree)).tree

        def after_a_change(task: Callable[[], object]) -> Callable[[], object]:
            def changed() -> None:
                change()
                task()

            return changed

        snapshot()
        status = Command(["git", "status", "--porcelain"], cwd=tree)
        tree_id = pair(after_a_change(status), after_a_change(snapshot), ROUNDS)
        print(at_most_times("tree id of 50,000 files, one changed", "`git status`", tree_id, 2))
        unchanged = pair(status, snapshot, ROUNDS)
        print(at_most_times("the same, none changed", "`git status`", unchanged, 2))

        def next_tree() -> str:
            change()
            return snapshot()

        trees = [next_tree() for _ in range(SLOW_ROUNDS + 2)]
        first = asyncio.run(materialise(state, trees.pop()))
        copies = count()

        def copy() -> None:
            Command(["cp", "-al", str(first), str(place / f"copy-{next(copies)}")])()

        def make() -> None:
            asyncio.run(materialise(state, trees.pop()))

        made = pair(copy, make, SLOW_ROUNDS)
        print(at_most_times("that snapshot materialised from the last", "`cp -al`", made, 1.2))


if __name__ == "__main__":
    main()

"""One run with many jobs that do nothing: what each costs must not grow with their number."""

from __future__ import annotations

import resource
import shutil
import statistics
from typing import TYPE_CHECKING

from evaluation_cost import repository
from paired import PIKACI, Command, line, milliseconds, workshop, yes

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (50, 200, 800)
LIMITS_MS = {800: 16_000}
ROUNDS = 3
FLAKE = """{
  outputs = _: {
    pikaci = (import ./lib).mkCatalog {
      systems = [ "@" ];
      targets = _: builtins.listToAttrs (map (count: {
        name = "many-${toString count}";
        value.jobs = builtins.listToAttrs (builtins.genList (number: {
          name = "job-${toString number}";
          value.command = "true";
        }) count);
      }) [ 50 200 800 ]);
    };
  };
}
"""


def main() -> None:
    """Print the rows."""
    with workshop() as place:
        tree = repository(place / "tree", {"flake.nix": FLAKE.replace("@", system())})
        for size in SIZES:
            took, cpu = measure(tree, place / "state", size)
            print(row(size, took), flush=True)
            work = f"one run of {size} jobs of `true`: CPU time of all its processes"
            print(line((work, "", "", f"{cpu:.0f}", "", "", "")), flush=True)


def system() -> str:
    """This machine's, as Nix says it."""
    from jerichoci.machine.system import own_system

    return own_system()


def measure(tree: Path, state: Path, size: int) -> tuple[float, float]:
    """The median of the whole of `pikaci run`, and its mean CPU time, in milliseconds."""
    run = Command([PIKACI, "run", f"many-{size}", "--state-root", str(state)], cwd=tree)
    before = cpu_ms()
    found = [milliseconds(run) for _ in range(ROUNDS)]
    shutil.rmtree(state / "runs")
    return statistics.median(found), (cpu_ms() - before) / ROUNDS


def cpu_ms() -> float:
    """What all children so far have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def row(size: int, took: float) -> str:
    """The row of a size; one without limit has none to meet."""
    limit = LIMITS_MS.get(size)
    met = ("", "") if limit is None else (f"{limit} ms", yes(met=took <= limit))
    return line((f"one run of {size} jobs of `true`", "", "", f"{took:.0f}", "", *met))


if __name__ == "__main__":
    main()

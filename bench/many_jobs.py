"""One run with many jobs that do nothing: what each costs must not grow with their number."""

from __future__ import annotations

import resource
import shutil
import statistics
from typing import TYPE_CHECKING

from evaluation_cost import repository
from paired import PIKACI, Command, Pair, at_most_more, line, pair, workshop

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (50, 200, 800, 2000)
EXTRA_MS = 6
"""A job, beyond the floor."""
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
      }) [ 50 200 800 2000 ]);
    };
  };
}
"""


def main() -> None:
    """Print the rows."""
    with workshop() as place:
        tree = repository(place / "tree", {"flake.nix": FLAKE.replace("@", system())})
        (place / "logs").mkdir()
        for size in SIZES:
            measured, cpu = measure(tree, place, size)
            work = f"one run of {size} jobs of `true`"
            floor = "`xargs -P2` of `bash -c true` with a log each"
            print(at_most_more(work, floor, measured, EXTRA_MS * size), flush=True)
            print(
                line((f"{work}: CPU time of all its processes", "", "", f"{cpu:.0f}", "", "", ""))
            )


def system() -> str:
    """This machine's, as Nix says it."""
    from jerichoci.machine.system import own_system

    return own_system()


def measure(tree: Path, place: Path, size: int) -> tuple[Pair, float]:
    """Both in turn, the whole of `pikaci run`, and its mean CPU time, in milliseconds."""
    state = place / "state"
    run = Command([PIKACI, "run", f"many-{size}", "--state-root", str(state)], cwd=tree)
    one = f"exec >{place}/logs/$0 2>&1; true"
    floor = Command(["sh", "-c", f"seq {size} | xargs -P2 -n1 bash -c '{one}'"])
    used = []

    def subject() -> None:
        before = cpu_ms()
        run()
        used.append(cpu_ms() - before)

    measured = pair(floor, subject, ROUNDS)
    shutil.rmtree(state / "runs")
    return measured, statistics.mean(used[1:])


def cpu_ms() -> float:
    """What all children so far have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


if __name__ == "__main__":
    main()

"""Twelve targets in one command, against twelve commands, and the evaluation of twelve plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation_cost import repository
from many_jobs import system
from paired import PIKACI, Command, at_most_times, pair, workshop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from paired import Task

COUNT = 12
ROUNDS = 7
FLAKE = """{
  outputs = _: {
    pikaci = (import ./lib).mkCatalog {
      systems = [ "@" ];
      targets = system: builtins.listToAttrs (builtins.genList (number: {
        name = "target-${toString number}";
        value = {
          prepare.dep.drv = derivation {
            inherit system;
            name = "dep-${toString number}";
            builder = "/bin/sh";
            args = [ "-c" "echo ${toString number} > $out" ];
          };
          jobs.it = { needs = [ "dep" ]; command = "true"; };
        };
      }) 12);
    };
  };
}
"""


def main() -> None:
    """Print the rows."""
    with workshop() as place:
        tree = repository(place / "tree", {"flake.nix": FLAKE.replace("@", system())})
        names = [f"target-{number}" for number in range(COUNT)]
        runs = pair(each(tree, place / "each", names), run(tree, place / "all", *names), ROUNDS)
        work = f"`pikaci run` of {COUNT} targets of `true`, everything cached"
        print(at_most_times(work, f"{COUNT} x `pikaci run`", runs, 0.5), flush=True)
        one, twelve = (plan(tree, place / "plans", *some) for some in (names[:1], names))
        planned = pair(one, twelve, ROUNDS * 3)
        work = f"evaluation of {COUNT} plans: `pikaci plan --set`"
        print(at_most_times(work, "that of one plan", planned, 1.5))


def run(tree: Path, state: Path, *names: str) -> Command:
    """One command."""
    return Command([PIKACI, "run", *names, "--state-root", str(state)], cwd=tree)


def each(tree: Path, state: Path, names: Sequence[str]) -> Task:
    """A command for each target, one after the other."""
    commands = [run(tree, state, name) for name in names]

    def task() -> None:
        for command in commands:
            command()

    return task


def plan(tree: Path, state: Path, *names: str) -> Command:
    """The evaluation of a plan set, which makes derivations as that of a run does."""
    return Command([PIKACI, "plan", "--set", *names, "--state-root", str(state)], cwd=tree)


if __name__ == "__main__":
    main()

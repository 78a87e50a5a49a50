"""`pikaci list --limit 20` where very many runs are recorded, against few."""

from __future__ import annotations

from fixtures import checkout, many_runs, one_run
from paired import PIKACI, Command, at_most_times, pair, workshop

MANY = 50_000
FEW = 50


def main() -> None:
    """Print the row."""
    with workshop() as place:
        run = one_run(checkout(place / "tree"), place / "one")
        argv = [PIKACI, "list", "--limit", "20", "--state-root"]
        few = Command([*argv, str(many_runs(run, place / "few", FEW))])
        many = Command([*argv, str(many_runs(run, place / "many", MANY))])
        measured = pair(few, many)
    work = f"`pikaci list --limit 20`, {MANY:,} runs recorded"
    print(at_most_times(work, f"the same with {FEW}", measured, 2))


if __name__ == "__main__":
    main()

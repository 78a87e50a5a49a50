"""Jobs in guests against Incus's own client, and the executor against the requests it makes."""

from __future__ import annotations

import argparse
from statistics import median

from incus_place import Place, executor_ms, in_turn, is_possible, place, printing_ms
from paired import Command, Pair, at_most_more, at_most_times, line, milliseconds, yes

MIB = 200
PRINTING = f"yes {'x' * 98} | head -c {MIB * 2**20}"
LAUNCH = "incus launch --quiet {image} $1; incus exec $1 -- {command}; incus delete --force $1"
SCRIPT = "`incus launch`, `incus exec true`, `incus delete -f`"
GONE_LIMIT_MS = 1000


def main() -> None:
    """Print the rows."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rounds", type=int, default=15, help="of one job")
    flags.add_argument("--slow-rounds", type=int, default=5, help="of many jobs, and of printing")
    flags.add_argument("--many", type=int, default=20, help="jobs in a run")
    chosen = flags.parse_args()
    if not is_possible():
        return
    with place(chosen.many, PRINTING) as here:
        one_job(here, chosen.rounds)
        standing_by(here, chosen.rounds)
        warm_cache(here, chosen.rounds)
        many_jobs(here, chosen.many, chosen.slow_rounds)
        printing(here, chosen.slow_rounds)


def one_job(here: Place, rounds: int) -> None:
    """A no-op job, by both ways of removal; and the executor alone."""
    script = LAUNCH.format(image=here.image, command="true")
    departures, phases = [], []

    def left_to_incus() -> float:
        took = milliseconds(here.run("one"))
        departures.append(here.gone())
        phases.append(executor_ms(here.last_record()[0]))
        return took

    def waited_for() -> float:
        took = milliseconds(here.run("one", "--wait-removal"))
        here.last_record()
        return took

    measures = {
        "script": lambda: milliseconds(here.by_script(script)),
        "left": left_to_incus,
        "requests": here.by_requests,
        "waited": waited_for,
    }
    found = {name: median(row) for name, row in in_turn(measures, here.gone, rounds).items()}
    work = "no-op job in a fresh container"
    left = Pair(found["script"], found["left"])
    print(at_most_times(f"{work}, its removal left to Incus", SCRIPT, left, 0.45))
    waited = Pair(found["script"], found["waited"])
    print(at_most_times(f"{work}, gone at the end (`--wait-removal`)", SCRIPT, waited, 1.2))
    gone = max(departures[1:])
    cells = (f"{gone:.0f} ms", f"{GONE_LIMIT_MS} ms", yes(met=gone <= GONE_LIMIT_MS))
    print(line(("that removal: until the container is gone, at worst", "", "", "", *cells)))
    alone = Pair(found["requests"], median(phases[1:]))
    print(at_most_more("the executor's phases of that job", "its requests by hand", alone, 50))


def standing_by(here: Place, rounds: int) -> None:
    """The same with a guest that stands by, which each run leaves for the next."""
    script = LAUNCH.format(image=here.image, command="true")

    def run() -> float:
        took = milliseconds(here.run("one"))
        record, _ = here.last_record()
        claimed.append(record["jobs"][0]["execution"].get("stood_by", False))
        return took

    claimed: list[bool] = []
    measures = {"script": lambda: milliseconds(here.by_script(script)), "claimed": run}
    with here.standing_by():
        found = {name: median(row) for name, row in in_turn(measures, here.gone, rounds).items()}
    if not all(claimed[1:]):
        raise SystemExit("a guest that stood by was not claimed")
    pair = Pair(found["script"], found["claimed"])
    print(at_most_times("no-op job in a guest that stands by", SCRIPT, pair, 0.35))


def warm_cache(here: Place, rounds: int) -> None:
    """A job that finds a cache of 2 GiB in 2,048 files, against one without."""
    here.run("fill")()
    here.gone()
    here.last_record()

    def phases(target: str) -> float:
        here.run(target)()
        return executor_ms(here.last_record()[0])

    measures = {"without": lambda: phases("one"), "warm": lambda: phases("warm")}
    found = {name: median(row) for name, row in in_turn(measures, here.gone, rounds).items()}
    work = "the executor's phases of that job, with a warm cache of 2 GiB"
    print(at_most_more(work, "without", Pair(found["without"], found["warm"]), 50))


def many_jobs(here: Place, count: int, rounds: int) -> None:
    """As many no-op jobs in one run."""
    script = LAUNCH.format(image=here.image, command="true")
    by_xargs = here.command(
        "sh", "-euc", f"seq -f many-%g {count} | xargs -P 4 -n 1 sh -euc '{script}' sh"
    )

    def run(*more: str) -> float:
        took = milliseconds(here.run("many", *more))
        here.gone()
        here.last_record()
        return took

    measures = {
        "script": lambda: milliseconds(by_xargs),
        "left": run,
        "waited": lambda: run("--wait-removal"),
    }
    found = {name: median(row) for name, row in in_turn(measures, here.gone, rounds).items()}
    floor = f"{count} x that script, `xargs -P4`"
    left, waited = (Pair(found["script"], found[name]) for name in ("left", "waited"))
    print(at_most_times(f"{count} no-op jobs in one run", floor, left, 0.6))
    print(at_most_times("the same, all gone at the end", floor, waited, 0.7))


def printing(here: Place, rounds: int) -> None:
    """A guest that prints much: from the exec on, and from launch to removal."""
    output = here.directory / "output"
    script = LAUNCH.format(image=here.image, command=f"sh -c '{PRINTING}' > {output}")
    guest = here.kept_guest()
    exec_alone = here.by_script(f"incus exec {guest} -- sh -c '{PRINTING}' > {output}")
    phases = []

    def by_client(command: Command) -> float:
        output.unlink(missing_ok=True)
        took = milliseconds(command)
        if output.stat().st_size != MIB * 2**20:
            raise SystemExit("the output is not whole")
        return took

    def run() -> float:
        took = milliseconds(here.run("print"))
        record, log_bytes = here.last_record()
        if log_bytes != MIB * 2**20:
            raise SystemExit("the log is not whole")
        phases.append(printing_ms(record))
        return took

    measures = {
        "exec": lambda: by_client(exec_alone),
        "script": lambda: by_client(here.by_script(script)),
        "run": run,
    }
    found = {name: median(row) for name, row in in_turn(measures, here.gone, rounds).items()}
    work = f"guest printing {MIB} MiB"
    alone = Pair(found["exec"], median(phases[1:]))
    print(at_most_times(f"{work}, from exec to result", "`incus exec ... > file`", alone, 1.3))
    whole = Pair(found["script"], found["run"])
    floor = "`incus launch`, that, `incus delete -f`"
    print(at_most_times(f"{work}, the whole of `pikaci run`", floor, whole, 1.3))


if __name__ == "__main__":
    main()

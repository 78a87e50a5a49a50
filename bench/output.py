"""A job that prints a GiB, against its command into `cat > file`, and the memory it takes."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from paired import (
    PIKACI,
    ROOT,
    SLOW_ROUNDS,
    Command,
    at_most_times,
    line,
    pair,
    workshop,
    yes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE = 2**30
PRINTING = f"yes {'x' * 98} | head -c {SIZE}"
FLAKE = f"""{{
  outputs = _: {{
    pikaci = (import ./nix/lib).mkCatalog {{
      systems = [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" ];
      targets = _: {{
        print.jobs.print = {{ command = "{PRINTING}"; timeoutSecs = 600; }};
      }};
    }};
  }};
}}
"""
LIMIT_MIB = 150
LOOK_SECS = 0.02


def peak_mib(argv: Sequence[str], cwd: Path) -> float:
    """Run a command; the most memory that its own process had, its children's not counted."""
    process = subprocess.Popen(argv, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peaks = [row.split()[1] for row in status.splitlines() if row.startswith("VmHWM:")]
        peak = max([peak, *map(int, peaks)])
        time.sleep(LOOK_SECS)
    if process.returncode:
        raise SystemExit(f"{argv} exited with {process.returncode}")
    return peak / 1024


def main() -> None:
    """Print the rows."""
    with workshop() as place:
        tree, state = place / "tree", place / "state"
        shutil.copytree(ROOT / "nix" / "lib", tree / "nix" / "lib")
        (tree / "flake.nix").write_text(FLAKE)
        argv = [PIKACI, "run", "print", "--state-root", str(state)]
        by_cat = Command(["bash", "-c", f"{PRINTING} | cat > {place}/file"])

        def floor() -> None:
            (place / "file").unlink(missing_ok=True)
            by_cat()

        def subject() -> None:
            for run in (state / "runs").glob("*"):
                shutil.rmtree(run)
            Command(argv, cwd=tree)()

        measured = pair(floor, subject, SLOW_ROUNDS)
        (log,) = (state / "runs").glob("*/jobs/print/attempts/1/host.log")
        if log.stat().st_size < SIZE:
            raise SystemExit("the log is not whole")
        print(
            at_most_times("job printing 1 GiB", "the same command into `cat > file`", measured, 1.1)
        )
        peaks = [
            peak_mib([*argv, *more], tree) for more in ([], ["--print-logs", "--output", "jsonl"])
        ]
    for peak, how in zip(peaks, ("", ", with `--print-logs`"), strict=True):
        work = f"that job{how}: pikaci's own peak memory"
        found = f"{peak:.0f} MiB"
        print(line((work, "", "", "", found, f"{LIMIT_MIB} MiB", yes(met=peak < LIMIT_MIB))))


if __name__ == "__main__":
    main()

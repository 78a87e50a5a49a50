"""The page of a run with 50 MB of logs: how long, how much memory, and what it has beside logs."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from typing import TYPE_CHECKING

from output import peak_mib
from paired import PIKACI, ROOT, SLOW_ROUNDS, Command, line, milliseconds, workshop, yes

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 10
JOB_BYTES = 5_000_000
ROW = r"\\033[32m%s\\033[0m a line as a test prints it, \\033[1;31mFAILED\\033[0m or not <b>"
PRINTING = f"seq -f \\\"$(printf '{ROW}' %.0f)\\\" 1000000 | head -c {JOB_BYTES}; exit $FAILS"
FLAKE = f"""{{
  outputs = _: {{
    pikaci = (import ./nix/lib).mkCatalog {{
      systems = [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" ];
      targets = _: {{
        print.jobs = builtins.listToAttrs (builtins.genList (n: {{
          name = "print-${{toString n}}";
          value = {{ command = "{PRINTING}"; env.FAILS = if n == 3 then "1" else "0"; }};
        }}) {JOBS});
      }};
    }};
  }};
}}
"""
LIMIT_MS, LIMIT_MIB, LIMIT_BESIDE = 3000, 200, 300_000
LOGS = f"{JOBS * JOB_BYTES // 1_000_000} MB of logs"


def main() -> None:
    """Print the rows."""
    with workshop() as place:
        tree, state = place / "tree", place / "state"
        shutil.copytree(ROOT / "nix" / "lib", tree / "nix" / "lib")
        (tree / "flake.nix").write_text(FLAKE)
        root = ("--state-root", str(state))
        subprocess.run([PIKACI, "run", "print", *root], cwd=tree, check=False, capture_output=True)
        logged = sum(log.stat().st_size for log in state.glob("runs/*/jobs/*/attempts/1/host.log"))
        if logged < JOBS * JOB_BYTES:
            raise SystemExit("the logs are not whole")
        argv = [PIKACI, "report", "latest", *root]
        took = statistics.median(milliseconds(Command(argv, cwd=tree)) for _ in range(SLOW_ROUNDS))
        peak = peak_mib(argv, tree)
        beside = _beside(next(state.glob("runs/*/report.html")))
    for found, limit, met, what in (
        (f"{took:.0f} ms", f"{LIMIT_MS} ms", took <= LIMIT_MS, ""),
        (f"{peak:.0f} MiB", f"{LIMIT_MIB} MiB", peak < LIMIT_MIB, ": its peak memory"),
        (f"{beside / 1000:.0f} kB", "300 kB", beside <= LIMIT_BESIDE, ": the page without them"),
    ):
        print(line((f"`pikaci report` of {LOGS}{what}", "", "", "", found, limit, yes(met=met))))


def _beside(page: Path) -> int:
    """The bytes of a page that are no log."""
    count, is_log = 0, False
    with page.open("rb") as file:
        for row in file:
            is_log = is_log or b'<script type="text/plain"' in row or b'<pre class="no"' in row
            count += 0 if is_log else len(row)
            is_log = is_log and b"</script>" not in row and b"</pre></div>" not in row
    return count


if __name__ == "__main__":
    main()

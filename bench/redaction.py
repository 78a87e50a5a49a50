"""Keeping a job's log clear of secrets: the filter alone, and a job with and without one."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from itertools import count, islice
from typing import TYPE_CHECKING

from paired import PIKACI, ROOT, SLOW_ROUNDS, Command, line, pair, workshop, yes

sys.path.insert(0, str(ROOT / "orchestrator"))

from jerichoci.machine.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable

LINE = b"   Compiling serde_derive v1.0.197 (/home/user/.cargo/registry/src/index), unit %d\n"
CHUNK = b"".join(LINE % number for number in islice(count(), 11_000))[: 1 << 20]
ROUNDS = 200
LEAST_MB = 200
PRINTED_MB = 400
PRINTING = f"for i in $(seq {PRINTED_MB}); do cat chunk; done"
FLAKE = f"""{{
  outputs = _: {{
    pikaci = (import ./nix/lib).mkCatalog {{
      systems = [ "x86_64-linux" "aarch64-linux" ];
      targets = _: {{
        plain.jobs.print = {{ command = "{PRINTING}"; }};
        secret.jobs.print = {{ command = "{PRINTING}"; secrets.TOKEN.env = "BENCH_TOKEN"; }};
      }};
    }};
  }};
}}
"""


def secret() -> bytes:
    """A token as services make them."""
    return base64.urlsafe_b64encode(os.urandom(30))


def filtering(secrets: int) -> Callable[[], None]:
    """The filter's work on chunks of a build's output, none of which has a secret."""
    redactor = Redactor(secret() for _ in range(secrets))

    def work() -> None:
        for _ in range(ROUNDS):
            redactor.feed(CHUNK)

    return work


def copying() -> None:
    """What it takes to look at each byte once."""
    for _ in range(ROUNDS):
        CHUNK.count(b"\n")


def main() -> None:
    """Print the rows."""
    size = ROUNDS * len(CHUNK) / 1e6
    for secrets in (1, 5, 20):
        measured = pair(copying, filtering(secrets), SLOW_ROUNDS)
        speed = size / (measured.subject_ms / 1000)
        target = (f"{LEAST_MB} MB/s", yes(met=speed >= LEAST_MB)) if secrets <= 5 else ("", "")  # noqa: PLR2004 - what jobs have
        what = f"output cleared of {secrets} secret{'s' if secrets > 1 else ''}"
        print(line((what, "", "", "", f"{speed:.0f} MB/s", *target)))
    with workshop() as place:
        tree, state = place / "tree", place / "state"
        shutil.copytree(ROOT / "nix" / "lib", tree / "nix" / "lib")
        (tree / "flake.nix").write_text(FLAKE)
        (tree / "chunk").write_bytes(CHUNK)
        os.environ["BENCH_TOKEN"] = secret().decode()

        def job(target: str) -> Callable[[], None]:
            argv = [PIKACI, "run", target, "--state-root", str(state)]

            def work() -> None:
                for run in (state / "runs").glob("*"):
                    shutil.rmtree(run)
                Command(argv, cwd=tree)()

            return work

        measured = pair(job("plain"), job("secret"), SLOW_ROUNDS)
        cells = (
            f"job with a secret printing {PRINTED_MB} MB",
            "the same without",
            f"{measured.floor_ms:.0f}",
            f"{measured.subject_ms:.0f}",
            f"{measured.ratio:.2f} x",
        )
        print(line((*cells, "", "")))


if __name__ == "__main__":
    main()

"""What a part of a job's world costs: the same job without it and with it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from evaluation_cost import repository
from many_jobs import system
from paired import PIKACI, ROOT, Command, at_most_more, pair, workshop

sys.path.insert(0, str(ROOT / "orchestrator"))

from jerichoci.machine.redact import Redactor

if TYPE_CHECKING:
    from paired import Pair

ROUNDS = 41
MIB = 2**20
FLAKE = """{
  outputs = _: {
    pikaci = (import ./lib).mkCatalog {
      systems = [ "@" ];
      targets = system:
        let
          tool = derivation {
            inherit system;
            name = "tool";
            builder = "/bin/sh";
            args = [ "-c" ''
              PATH=/usr/bin:/bin
              mkdir -p $out/bin
              printf '#!/bin/sh\\n' >$out/bin/tool
              chmod +x $out/bin/tool
            '' ];
          };
        in
        {
          written.jobs.it.command = "${tool}/bin/tool";
          packages.jobs.it = { packages = [ tool ]; command = "tool"; };
          plain.jobs.it.command = "true";
          service.jobs.it = {
            services.s = { command = "exec sleep 60"; ready = "true"; };
            command = "true";
          };
          cache.jobs.it = { caches.c.path = "~/.cache-of-a-bench"; command = "true"; };
          loopback.jobs.it = { network = "loopback"; command = "true"; };
        };
    };
  };
}
"""


def main() -> None:
    """Print the rows."""
    with workshop() as place:
        tree = repository(place / "tree", {"flake.nix": FLAKE.replace("@", system())})

        def run(target: str) -> Command:
            state = str(place / "state")
            return Command([PIKACI, "run", target, "--state-root", state], cwd=tree)

        def against(floor: str, target: str) -> Pair:
            return pair(run(floor), run(target), ROUNDS)

        rows = (
            ("a job with `packages`", "its path written out", "written", "packages", 5.0),
            ("a job with a service that is ready at once", "without", "plain", "service", 30.0),
            ("a job with an empty cache", "without", "plain", "cache", 50.0),
            ('a job with `network = "loopback"`', "without", "plain", "loopback", 30.0),
        )
        for work, floor, without, with_it, more in rows:
            print(at_most_more(work, floor, against(without, with_it), more), flush=True)
    print(f"redaction of two secrets: {redaction():.0f} MB/s (asked: 200)")


def redaction() -> float:
    """MB/s through the filter of a log, as a process with pipes."""
    lines = b"".join(b"%06d a line of a log with /some/path\n" % number for number in range(28_000))
    redactor = Redactor([b"s3cr3t-token-value-1234", b"another/password+x"])
    began = time.perf_counter()
    for _ in range(200):
        redactor.feed(lines[:MIB])
    return 200 * MIB / 1e6 / (time.perf_counter() - began)


if __name__ == "__main__":
    main()

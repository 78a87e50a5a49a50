"""What a part of a job's world costs: the same job without it and with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation_cost import repository
from many_jobs import system
from paired import PIKACI, Command, at_most_more, pair, workshop

if TYPE_CHECKING:
    from paired import Pair

ROUNDS = 41
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


if __name__ == "__main__":
    main()

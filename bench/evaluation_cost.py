"""A catalog of many targets and lanes, against a flake that only reads the lanes file."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from paired import ROOT, Command, at_most_times, pair, workshop

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (10, 500, 2000)
LIMIT = 1.3
SYSTEM = "x86_64-linux"
FLOOR = "a flake that is `builtins.fromTOML` of the same lanes"

CATALOG = """{
  outputs = _: {
    pikaci = (import ./lib).mkCatalog {
      systems = [ "x86_64-linux" ];
      lanes = ./forge-lanes.toml;
      images.runner.alias = "pikaci/dev";
      targets = import ./targets.nix;
    };
  };
}
"""
READER = """{
  outputs = _: {
    pikaci.x86_64-linux.catalog = builtins.fromTOML (builtins.readFile ./forge-lanes.toml);
  };
}
"""
TARGET = """  pre-merge-@ = {
    title = "check-@";
    description = "Builds part @ of the workspace and runs its tests";
    trigger = "branch";
    prepare.build.drv = throw "a catalog forces no derivation";
    jobs.tests = {
      runtime = "incus";
      incus.role = "runner";
      needs = [ "build" ];
      command = "$PIKACI_INPUT_BUILD/bin/run-tests";
      timeoutSecs = 1800;
    };
  };
"""
ONE = '  one.jobs.it.command = "true";\n'
LANE = """
[[branch.lanes]]
id = "check-@"
title = "Check part @"
target = "pre-merge-@"
paths = ["crates/part-@/**", "Cargo.{toml,lock}", "flake.{nix,lock}"]
concurrency_group = "linux"
"""


def main() -> None:
    """Print the rows."""
    with workshop() as place:
        for size in SIZES:
            reader, catalog = flakes(place / str(size), size)
            for what, attribute in (("a catalog", "catalog"), ("a plan of one", "plans.one")):
                measured = pair(evaluation(reader), evaluation(catalog, attribute))
                work = f"`nix eval` of {what}, {size:,} targets and lanes"
                print(at_most_times(work, FLOOR, measured, LIMIT), flush=True)


def flakes(place: Path, size: int) -> tuple[Path, Path]:
    """Both flakes, each in a repository of its own."""
    lanes = "version = 1\n" + repeated(LANE, size)
    reader = repository(place / "reader", {"flake.nix": READER, "forge-lanes.toml": lanes})
    targets = f"system: {{\n{repeated(TARGET, size)}{ONE}}}\n"
    files = {"flake.nix": CATALOG, "forge-lanes.toml": lanes, "targets.nix": targets}
    catalog = repository(place / "catalog", files)
    return reader, catalog


def repeated(text: str, size: int) -> str:
    """As many of it, numbered."""
    return "".join(text.replace("@", str(number)) for number in range(size))


def repository(place: Path, files: dict[str, str]) -> Path:
    """A git repository that has these files, and the library, committed."""
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_text(content)
    shutil.copytree(ROOT / "nix/lib", place / "lib")
    git = ("git", "-C", str(place), "-c", "user.name=bench", "-c", "user.email=bench@localhost")
    for argv in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "bench"]):
        subprocess.run([*git, *argv], check=True)
    return place


def evaluation(place: Path, attribute: str = "catalog") -> Command:
    """The command that prints the catalog, or a plan."""
    features = ("--extra-experimental-features", "nix-command flakes")
    where = f"git+file://{place}#.pikaci.{SYSTEM}.{attribute}"
    argv = ["nix", *features, "eval", "--json", "--no-write-lock-file", where]
    return Command(argv)


if __name__ == "__main__":
    main()

"""A catalog of many targets and lanes, against a flake that only reads the lanes file."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from paired import ROOT, Command, Pair, at_most_times, line, pair, workshop

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (10, 100, 500, 2000)
LIMITS = {500: 1.6}
"""What is aimed at; the other sizes show that cost grows with size and no faster."""
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
            measured = measure(place / str(size), size)
            work = f"`nix eval` of a catalog, {size:,} targets and lanes"
            print(row(work, measured, LIMITS.get(size)), flush=True)


def row(work: str, measured: Pair, limit: float | None) -> str:
    """The row of a size; one without limit has none to meet."""
    if limit is not None:
        return at_most_times(work, FLOOR, measured, limit)
    times = (f"{measured.floor_ms:.1f}", f"{measured.subject_ms:.1f}", f"{measured.ratio:.2f} x")
    return line((work, FLOOR, *times, "", ""))


def measure(place: Path, size: int) -> Pair:
    """Time both flakes, each in a repository of its own."""
    lanes = "version = 1\n" + repeated(LANE, size)
    reader = repository(place / "reader", {"flake.nix": READER, "forge-lanes.toml": lanes})
    targets = f"system: {{\n{repeated(TARGET, size)}}}\n"
    files = {"flake.nix": CATALOG, "forge-lanes.toml": lanes, "targets.nix": targets}
    catalog = repository(place / "catalog", files)
    return pair(evaluation(reader), evaluation(catalog))


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


def evaluation(place: Path) -> Command:
    """The command that prints the catalog."""
    features = ("--extra-experimental-features", "nix-command flakes")
    where = f"git+file://{place}#.pikaci.{SYSTEM}.catalog"
    argv = ["nix", *features, "eval", "--json", "--no-write-lock-file", where]
    return Command(argv)


if __name__ == "__main__":
    main()

"""The repository of `pika-git demo`: a bare one with a catalog of one lane, which needs no network.

It has a copy of the catalog library and of the target `hello` of this checkout.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from pika_git.git import Repository

CHECKOUT = Path(__file__).resolve().parents[3]
MAIN = "refs/heads/main"
PERSON = ("-c", "user.name=pika-git demo", "-c", "user.email=demo@forge.invalid")

FLAKE = """{
  description = "A repository whose pushes are tested";

  outputs = _: {
    # In a repository of your own, pikaci is an input: see docs/another-repository.md.
    pikaci = (import ./pikaci-lib).mkCatalog {
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      lanes = ./ci/forge-lanes.toml;
      targets = import ./ci;
    };
  };
}
"""
TARGETS = """# The targets of this repository. `hello` is run for each push that selects its lane.
system: {
  hello = import ./hello.nix system // {
    trigger = "branch";
  };
}
"""
LANES = """# Which targets run for which changes.
version = 1

[[branch.lanes]]
id = "hello"
title = "Hello"
target = "hello"
paths = ["ci/**", "flake.nix", "pikaci-lib/**"]
concurrency_group = "hello"
"""
README = """# demo

Push a branch that changes `ci/hello.nix`, and the forge runs the lane `hello` on it.
"""


def make_repository(path: Path) -> Repository:
    """Make the repository, unless it is there."""
    repository = Repository(path)
    if (path / "HEAD").exists() and repository.commit(MAIN) is not None:
        return repository
    library, hello = CHECKOUT / "nix/lib", CHECKOUT / "nix/ci/hello.nix"
    if not library.is_dir() or not hello.is_file():
        hint = "run `make forge` in a checkout of pikaci"
        raise click.ClickException(f"there is no catalog library in {CHECKOUT}\nhint: {hint}")
    path.mkdir(parents=True, exist_ok=True)
    repository.out("init", "--quiet", "--bare", "--initial-branch=main")
    with TemporaryDirectory() as tree:
        root = Path(tree)
        shutil.copytree(library, root / "pikaci-lib")
        (root / "ci").mkdir()
        shutil.copyfile(hello, root / "ci/hello.nix")
        files = {"flake.nix": FLAKE, "ci/default.nix": TARGETS, "ci/forge-lanes.toml": LANES}
        for name, text in {**files, "README.md": README}.items():
            (root / name).write_text(text)
        repository.out(f"--work-tree={root}", "add", "--all")
    commit = repository.out(
        *PERSON, "commit-tree", repository.out("write-tree"), stdin=b"Add the lane hello\n"
    )
    repository.out("update-ref", MAIN, commit)
    (path / "index").unlink()
    return repository

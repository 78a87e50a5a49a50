"""Evaluates catalogs with the real nix, which these tests can't do without."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MARK = '{"action":"msg"'

# Short ways to write a catalog. `drv` needs no nixpkgs.
PRELUDE = f"""
let
  lib = import {ROOT}/nix/lib;
  drv = name: derivation {{
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-c" "echo > $out" ];
  }};
  defaults = {{ systems = [ "x86_64-linux" ]; targets = _: {{ }}; }};
  mk = arguments: (lib.mkCatalog (defaults // arguments)).x86_64-linux;
  catalog = targets: mk {{ targets = _: targets; }};
  target = attributes: catalog {{ hello = {{ jobs.greet.command = "true"; }} // attributes; }};
  job = attributes: catalog {{ hello.jobs.greet = {{ command = "true"; }} // attributes; }};
  prepare = attributes: target {{ prepare.dep = attributes; }};
  all = it: builtins.deepSeq [ it.catalog it.plans ] it;
in
"""


def run_nix(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nix", "--extra-experimental-features", "nix-command flakes", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def eval_catalog(expression: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run_nix(
        "eval", "--json", "--impure", "--log-format", "internal-json", *options,
        "--expr", PRELUDE + expression,
    )  # fmt: skip


def messages(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    lines = [line.removeprefix("@nix ") for line in done.stderr.splitlines()]
    return [json.loads(line) for line in lines if line.startswith(MARK)]


def error_message(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    errors = [message for message in messages(done) if message["level"] == 0]
    assert len(errors) == 1, done.stderr
    return errors[0]


def evaluate(expression: str, *options: str) -> Any:  # noqa: ANN401 - JSON
    """The JSON value of an expression that may use the prelude."""
    done = eval_catalog(expression, *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(expression: str, *options: str) -> str:
    """The sentence that evaluating the whole of a catalog ends with."""
    done = eval_catalog(f"all ({expression})", "--read-only", *options)
    assert done.returncode == 1, done.stdout
    raw: str = error_message(done)["raw_msg"]
    return raw

"""Real derivations that no test has made before: what they give is really built."""

from __future__ import annotations

import json
import os
import secrets
import subprocess

from jerichoci.machine.system import own_system
from jerichoci.plan.plan import NixBuild

EXPRESSION = """
with builtins.fromJSON (builtins.getEnv "DERIVATIONS");
let
  make = name: derivation {
    inherit name system token PATH;
    builder = "/bin/sh";
    args = [ "-c" scripts.${name} ];
    needed = map (other: made.${other}) needs.${name};
  };
  made = builtins.mapAttrs (name: _: make name) scripts;
in
builtins.mapAttrs (_: drv: { drv = drv.drvPath; out = drv.outPath; }) made
"""


def derive(
    scripts: dict[str, str] | None = None,
    /,
    *,
    timeouts: dict[str, int] | None = None,
    needs: dict[str, list[str]] | None = None,
    **more: str,
) -> dict[str, NixBuild]:
    """Instantiate a derivation for each script; `needs` says which use the outputs of which."""
    wanted = (scripts or {}) | more
    asked = {
        "scripts": wanted,
        "needs": {name: (needs or {}).get(name, []) for name in wanted},
        "system": own_system(),
        "token": secrets.token_hex(8),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [
            "nix-instantiate",
            "--eval",
            "--read-write-mode",
            "--strict",
            "--json",
            "--expr",
            EXPRESSION,
        ],
        env=os.environ | {"DERIVATIONS": json.dumps(asked)},
        check=True,
        capture_output=True,
    )
    return {
        name: NixBuild(
            installable=f"{paths['drv']}^out",
            drv_path=paths["drv"],
            out_path=paths["out"],
            timeout_secs=(timeouts or {}).get(name, 60),
        )
        for name, paths in json.loads(done.stdout).items()
    }


def realise(build: NixBuild) -> None:
    """Build a derivation beforehand."""
    subprocess.run(
        ["nix-store", "--realise", build.drv_path or ""], check=True, capture_output=True
    )


def is_valid(path: str) -> bool:
    """Whether Nix vouches for a store path."""
    argv = ["nix-store", "--check-validity", path]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0
